"""Packs of small pictures for the tests of what feeds training with pixels."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fclip.files import sha256_bytes
from fclip.images.packs import ImagePacks, StoredImage
from fclip.images.pixels import decode
from fclip.models.store import Preprocess
from tests.packs import write_packs

PREPROCESS = Preprocess(size=24, mean=(0.5,) * 3, std=(0.5,) * 3)


def photograph(seed: int) -> StoredImage:
    """A mottled JPEG; every third one large enough to be decoded at a fraction of its size."""
    width, height = (130, 150) if seed % 3 == 0 else (40 + seed % 7, 44)
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return StoredImage(sha256_bytes(buffer.getvalue()), buffer.getvalue(), width, height)


def broken() -> StoredImage:
    """What no program reads."""
    content = b"\xff\xd8 no picture"
    return StoredImage(sha256_bytes(content), content, 8, 8)


def write_pictures(folder: Path, images: Sequence[StoredImage]) -> tuple[ImagePacks, list[str]]:
    """Packs of `images` in `folder`, and their digests in order."""
    write_packs(folder, images)
    return ImagePacks([folder]), [image.sha256 for image in images]


def expected(images: Sequence[StoredImage], preprocess: Preprocess = PREPROCESS) -> np.ndarray:
    """uint8 [n, size, size, 3], decoded one by one."""
    return np.stack([decode(image.content, preprocess, draft=True) for image in images])
