"""Decoding alone: the lower bound of any ingest that reads its images.

`decode` reads each file and decodes it whole; `convert` also does what must be stored of it: the shorter side brought
down to the stored side, and a JPEG encoded where that changed the image. The same decoder, as many workers, and
nothing else.
"""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fclip.catalog.config import ImageConfig
from fclip.catalog.jpegs import Jpeg, encode, read_header, shrink
from fclip.errors import UserError

FILES_PER_TASK = 64


def decode(path: Path) -> int:
    """Decode one JPEG; returns its pixels."""
    jpeg = _jpeg(path)
    jpeg.decode()
    return jpeg.width * jpeg.height


def convert(path: Path, config: ImageConfig) -> int:
    """Decode one JPEG, and shrink and encode it where it is too large; returns its pixels."""
    jpeg = _jpeg(path)
    scale = config.stored_side / min(jpeg.width, jpeg.height)
    if scale >= 1:
        return decode(path)
    pixels = shrink(jpeg.decode(config.stored_side), round(jpeg.width * scale), round(jpeg.height * scale))
    encode(pixels, config.jpeg_quality)
    return int(pixels.size)


def _jpeg(path: Path) -> Jpeg:
    jpeg = read_header(path.read_bytes())
    if jpeg is None:
        raise UserError(f"{path} is no plain JPEG: only a dataset of JPEGs can be measured")
    return jpeg


def time_decoding(files: Sequence[Path], config: ImageConfig | None, *, workers: int, processes: bool) -> float:
    """Seconds that decoding (or, given a config, converting) all files takes in so many threads or processes."""
    work: Callable[[Path], int] = decode if config is None else partial(convert, config=config)
    parts = [files[begin : begin + FILES_PER_TASK] for begin in range(0, len(files), FILES_PER_TASK)]
    with _pool(workers, processes) as pool:
        list(pool.map(partial(_all, work), [files[:8]] * (4 * workers)))  # workers are started
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
