"""Hostile image files by name, each with the reason of its refusal (None: it is accepted).

    python -m tests.fclip.catalog.hostile_images

normalises each and prints one line of JSON: name -> [reason or null, stored bytes, seconds]. The key "" has the peak
memory in megabytes.
"""

import io
import json
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Any

from PIL import Image

Piece = tuple[bytes, str | None]
MAX_PIXELS = 50_000_000
UNREADABLE, LARGE, ANIMATED = "unreadable image", "image too large", "animated image"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, pixels: bytes, *extra: bytes, bits: int = 8, colour: int = 2) -> bytes:
    """A PNG with this declared size and any compressed pixels; `extra` are chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bomb(num_bytes: int) -> bytes:
    """A zlib stream that inflates to `num_bytes` zeros (whole megabytes). Repeated blocks make it fast to create."""
    squeeze = zlib.compressobj(9)
    first = squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    more = squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.adler32(bytes(num_bytes if num_bytes < 2**28 else 0))  # larger streams are never read to the end
    return first + more * (num_bytes // 2**20 - 1) + b"\x03\0" + struct.pack(">I", checksum)


def jpeg_of_size(width: int, height: int) -> bytes:
    """A tiny JPEG that declares this size."""
    content = encoded(Image.new("RGB", (16, 16)), "JPEG")
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG with `count` more scans, each as expensive to decode as the image."""
    content = encoded(Image.new("RGB", (6000, 6000)), "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * count + b"\xff\xd9"


def gif_of_frames(count: int) -> bytes:
    content = encoded(Image.new("P", (4, 4)), "GIF")
    frame = content[content.index(b",") : -1]
    return content[:-1] + (b"!\xf9\x04\0\x05\0\0\0" + frame) * (count - 1) + b";"


def tiff_of_directories(count: int) -> bytes:
    """A TIFF whose directory list has `count` empty entries and then loops."""
    content = encoded(Image.new("RGB", (16, 16)), "TIFF")
    first = struct.unpack_from("<I", content, 4)[0]
    link = first + 2 + 12 * struct.unpack_from("<H", content, first)[0]
    begin = len(content) if count else first
    chain = b"".join(struct.pack("<HI", 0, begin + 6 * (place + 1)) for place in range(count))
    loop = chain[:-4] + struct.pack("<I", begin) if count else b""
    return content[:link] + struct.pack("<I", begin) + content[link + 4 :] + loop


def _animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:])


def hostile_images() -> dict[str, Piece]:
    """Create all hostile images."""
    red = Image.new("RGB", (16, 16), "red")
    rows = zlib.compress((b"\0" + b"\x40\x80\xc0" * 16) * 16)
    good = encoded(red, "JPEG")
    bilevel = zlib.compress(bytes(20_000 * 2501), 1)
    return {
        "empty": (b"", UNREADABLE),
        "zeros": (bytes(5000), UNREADABLE),
        "text": (b"no image", UNREADABLE),
        "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9"/>', UNREADABLE),
        "svg that includes": (b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', UNREADABLE),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n", UNREADABLE),
        "eps of an image": (encoded(red, "EPS"), UNREADABLE),
        "pdf": (encoded(red, "PDF"), UNREADABLE),
        "psd": (b"8BPS\0\1" + bytes(6) + b"\0\3" + struct.pack(">IIHH", 16, 16, 8, 3) + bytes(200), UNREADABLE),
        "avif": (encoded(red, "AVIF"), UNREADABLE),
        "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), UNREADABLE),
        "jpeg 2000": (encoded(red, "JPEG2000"), UNREADABLE),
        "page of html": (b"<!DOCTYPE html><title>404</title>", UNREADABLE),
        "half a jpeg": (encoded(red.resize((300, 300)), "JPEG")[:700], "truncated image"),
        "half a png": (encoded(Image.effect_noise((90, 90), 50), "PNG")[:2000], "truncated image"),
        "head of a png": (b"\x89PNG\r\n\x1a\n\0\0", UNREADABLE),
        "png with a broken checksum": (png(16, 16, rows)[:29] + bytes(4) + png(16, 16, rows)[33:], UNREADABLE),
        "floating point": (encoded(Image.new("F", (16, 16)), "TIFF"), UNREADABLE),
        # Bombs: many pixels, much data after decompression, or much work.
        "1-bit png of 20000 x 20000": (png(20_000, 20_000, bilevel, bits=1, colour=0), LARGE),
        "png of 2147483647 x 2147483647": (png(2**31 - 1, 2**31 - 1, rows), LARGE),
        "jpeg of 65500 x 65500": (jpeg_of_size(65_500, 65_500), LARGE),
        "gif of 65535 x 65535": (b"GIF89a\xff\xff\xff\xff" + encoded(red, "GIF")[10:], LARGE),
        "png of 1 x 40000000": (png(1, 40_000_000, rows), "image too narrow"),
        "jpeg of 65500 x 700": (jpeg_of_size(65_500, 700), "image too narrow"),
        "jpeg of 3000 scans": (jpeg_of_scans(3000), "too many scans"),
        "pixels that inflate to 4 GB": (png(16, 16, bomb(2**32)), None),
        "comment that inflates to 1 GB": (png(16, 16, rows, chunk(b"zTXt", b"k\0\0" + bomb(2**30))), UNREADABLE),
        "text that inflates to 1 GB": (png(16, 16, rows, chunk(b"iTXt", b"k\0\1\0\0\0" + bomb(2**30))), UNREADABLE),
        "colours that inflate to 1 GB": (png(16, 16, rows, chunk(b"iCCP", b"k\0\0" + bomb(2**30))), UNREADABLE),
        "300 comments of 1 MB": (png(16, 16, rows, *[chunk(b"zTXt", b"k\0\0" + bomb(2**20))] * 300), UNREADABLE),
        "16-bit png of 7000 x 7000": (png(7000, 7000, bomb(94 * 2**20), bits=16, colour=0), None),
        "png of 7000 x 7000 with alpha": (png(7000, 7000, bomb(187 * 2**20), colour=6), None),
        # Animations, and files that look like one.
        "gif of 10000 frames": (gif_of_frames(10_000), ANIMATED),
        "webp of 3 frames": (_animated("WEBP"), ANIMATED),
        "png of 3 frames": (_animated("PNG"), ANIMATED),
        "tiff of 20000 directories": (tiff_of_directories(20_000), ANIMATED),
        "tiff whose directory is its own next": (tiff_of_directories(0), None),
        # Unusual but valid pictures.
        "fine": (good, None),
        "jpeg with a zip behind it": (good + b"PK\3\4" + bytes(300), None),
        "png laden with 3 MB": (png(16, 16, rows, chunk(b"juNk", bytes(3 * 2**20))), None),
        "png with broken exif": (png(16, 16, rows, chunk(b"eXIf", b"nonsense")), None),
        "png with broken raw exif": (png(16, 16, rows, chunk(b"tEXt", b"Raw profile type exif\0\n1\n 3\nzz")), None),
        "jpeg with broken exif": (encoded(red, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(30)), None),
        "cmyk": (encoded(red.convert("CMYK"), "JPEG"), None),
        "lab": (encoded(Image.new("LAB", (16, 16)), "TIFF"), None),
        "one pixel": (encoded(red.resize((1, 1)), "PNG"), None),
    }


def main() -> None:
    from fclip.catalog.config import ImageConfig
    from fclip.catalog.images import NormalisedImage, normalise_image

    config = ImageConfig(stored_side=64, max_pixels=MAX_PIXELS, jpeg_quality=92)
    results: dict[str, object] = {}
    for name, (content, _) in hostile_images().items():
        begin = time.perf_counter()
        normalised = normalise_image(content, config)
        seconds = time.perf_counter() - begin
        if isinstance(normalised, NormalisedImage):
            results[name] = None, len(normalised.stored.content), seconds
        else:
            results[name] = normalised.reason, 0, seconds
    # Not getrusage: its peak includes that of the parent process.
    (peak,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    results[""] = int(peak) / 1024
    print(json.dumps(results))


if __name__ == "__main__":
    main()
