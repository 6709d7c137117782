"""Decoding alone: the lower bound of any ingest that looks at its images.

`decode` reads each file and decodes it whole; `convert` also does what must be stored of it: the shorter side brought
down to the stored side, and a JPEG encoded where that changed the image. The same Pillow, as many workers, and nothing
else.
"""

import io
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from fclip.catalog.config import ImageConfig

FILES_A_TASK = 64


def decode(path: Path) -> int:
    """Decode one file; returns its pixels."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.load()
        return image.width * image.height


def convert(path: Path, config: ImageConfig) -> int:
    """Decode one file, and shrink and encode it where it is too large; returns its pixels."""
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        width, height = image.size
        scale = config.stored_side / min(width, height)
        if scale >= 1:
            image.load()
            return width * height
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image.draft(None, (2 * size[0], 2 * size[1]))
        small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.save(io.BytesIO(), "JPEG", quality=config.jpeg_quality)
    return size[0] * size[1]


def time_decoding(files: Sequence[Path], config: ImageConfig | None, *, workers: int, processes: bool) -> float:
    """Seconds that decoding (or, given a config, converting) all files takes in so many threads or processes."""
    work: Callable[[Path], int] = decode if config is None else partial(convert, config=config)
    parts = [files[begin : begin + FILES_A_TASK] for begin in range(0, len(files), FILES_A_TASK)]
    with _pool(workers, processes) as pool:
        list(pool.map(partial(_all, work), [files[:8]] * (4 * workers)))  # workers are started, Pillow's plugins loaded
        began = time.perf_counter()
        pixels = sum(pool.map(partial(_all, work), parts))
        seconds = time.perf_counter() - began
    assert pixels > 0
    return seconds


def _all(work: Callable[[Path], int], files: Sequence[Path]) -> int:
    return sum(work(file) for file in files)


def _pool(workers: int, processes: bool) -> Executor:
    if processes:
        return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))
    return ThreadPoolExecutor(workers)
