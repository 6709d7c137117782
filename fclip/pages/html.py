"""Self-contained HTML pages: the template environment and thumbnails as data URIs."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from fclip.images.packs import ImagePacks
from fclip.images.pixels import read_image
from fclip.pages.wording import counted, number, percent, signed

THUMBNAIL_SIDE = 112  # pixels of the longer side
THUMBNAIL_QUALITY = 68


def environment(templates: Path) -> Environment:
    """Return a Jinja environment for the folder `templates`. Its templates can include those of `fclip.pages`."""
    result = Environment(
        loader=FileSystemLoader([templates, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    result.filters |= {"number": number, "percent": percent, "signed": signed, "counted": counted}
    return result


def thumbnails(images_dir: Path, digests: Iterable[str]) -> dict[str, str]:
    """Return digest -> small WebP as a data URI. Raises UserError if an image is in no pack of the folder."""
    distinct = sorted(set(digests))
    contents = ImagePacks([images_dir]).read_many(distinct) if distinct else []
    return dict(zip(distinct, map(_thumbnail, contents), strict=True))


def _thumbnail(content: bytes) -> str:
    image = read_image(content, draft_side=THUMBNAIL_SIDE)
    image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=THUMBNAIL_QUALITY, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
