"""The time of decoding alone: the lower bound of any ingest that reads its images.

`decode` reads and decodes each file. `convert` also does the work that storing needs: it shrinks the shorter side to
the stored side, and encodes a JPEG if that changed the image. Both use fclip's decoder and the same number of workers.
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
    """Decode one JPEG and return its number of pixels."""
    jpeg = _jpeg(path)
    jpeg.decode()
    return jpeg.width * jpeg.height


def convert(path: Path, config: ImageConfig) -> int:
    """Decode one JPEG, shrink and encode it if it is too large, and return its number of pixels."""
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
        raise UserError(f"{path} is not a plain JPEG; only a dataset of JPEGs can be measured")
    return jpeg


def time_decoding(files: Sequence[Path], config: ImageConfig | None, *, workers: int, processes: bool) -> float:
    """Return the seconds for decoding all files (or, given a config, converting them) in threads or processes."""
    work: Callable[[Path], int] = decode if config is None else partial(convert, config=config)
    parts = [files[begin : begin + FILES_PER_TASK] for begin in range(0, len(files), FILES_PER_TASK)]
    with _pool(workers, processes) as pool:
        list(pool.map(partial(_all, work), [files[:8]] * (4 * workers)))  # start the workers
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
