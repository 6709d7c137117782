"""Pictures to put into a page."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from fclip.images.packs import ImagePacks
from fclip.images.pixels import read_image

SIDE = 112  # of a thumbnail's longer side, pixels
QUALITY = 68


def thumbnails(images_dir: Path, digests: Iterable[str]) -> dict[str, str]:
    """digest -> a small WebP as a data URI; raises UserError where an image is in no pack of the folder."""
    wanted = sorted(set(digests))
    contents = ImagePacks([images_dir]).read_many(wanted) if wanted else []
    return dict(zip(wanted, map(_thumbnail, contents), strict=True))


def _thumbnail(content: bytes) -> str:
    image = read_image(content, draft_side=SIDE)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
