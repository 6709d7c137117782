"""Packs of small pictures for tests of the pixel sources."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fclip.files import sha256_bytes
from fclip.images.packs import ImagePacks, StoredImage
from fclip.images.pixels import decode
from fclip.models.preprocess import Preprocess
from tests.packs import write_packs

PREPROCESS = Preprocess(size=24, mean=(0.5,) * 3, std=(0.5,) * 3)


def photograph(seed: int) -> StoredImage:
    """Return a JPEG of smooth noise. Every third one is large enough to be decoded at a reduced size."""
    width, height = (130, 150) if seed % 3 == 0 else (40 + seed % 7, 44)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return StoredImage(sha256_bytes(buffer.getvalue()), buffer.getvalue(), width, height)


def broken() -> StoredImage:
    """Return an image that cannot be decoded."""
    content = b"\xff\xd8 no picture"
    return StoredImage(sha256_bytes(content), content, 8, 8)


def write_pictures(folder: Path, images: Sequence[StoredImage]) -> tuple[ImagePacks, list[str]]:
    """Write packs of `images` to `folder`; return them, and the digests in order."""
    write_packs(folder, images)
    return ImagePacks([folder]), [image.sha256 for image in images]


def expected(images: Sequence[StoredImage], preprocess: Preprocess = PREPROCESS) -> np.ndarray:
    """Return the images decoded one by one, uint8 [n, size, size, 3]."""
    return np.stack([decode(image.content, preprocess, draft=True) for image in images])
