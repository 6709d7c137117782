"""Image packs for tests."""

from collections.abc import Iterable
from pathlib import Path

from fclip.images.packs import MAX_PACK_BYTES, PackWriter, StoredImage


def write_packs(folder: Path, images: Iterable[StoredImage], *, max_bytes: int = MAX_PACK_BYTES) -> list[Path]:
    """Write `images` into packs in `folder` and return the packs in the order of writing."""
    with PackWriter(folder, max_bytes=max_bytes) as writer:
        for image in images:
            writer.add(image)
    return writer.packs
