"""HTML pages that need no other file: where their templates are rendered, and pictures to put into them."""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from fclip.images.packs import ImagePacks
from fclip.images.pixels import read_image
from fclip.pages.wording import number, percent, signed, things

SIDE = 112  # of a thumbnail's longer side, pixels
QUALITY = 68


def environment(templates: Path) -> Environment:
    """Where the templates in the folder `templates` are rendered; they may include those of `fclip.pages`."""
    found = Environment(
        loader=FileSystemLoader([templates, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"number": number, "percent": percent, "signed": signed, "things": things}
    return found


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
