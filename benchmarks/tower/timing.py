"""Times of towers: median_timings of interleaved runs, so that what else the machine does falls on all alike."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.tower.variants import Tower


@dataclass(frozen=True)
class TowerTiming:
    """Milliseconds an image of a variant in one way of running it."""

    variant: str
    column: str
    milliseconds: float


def median_timings(
    forward: Mapping[str, Tower], backward: Mapping[str, Tower], pixels: torch.Tensor, *, repeats: int
) -> list[TowerTiming]:
    """Forward with one image and with 32 on one core, and with 32 on all; backward with 64 on all.

    Args:
        pixels: [at least 64, 3, side, side].
    """
    cores = os.cpu_count() or 1
    alone, few, many = pixels[:1], pixels[:32], pixels[:64]
    found: list[TowerTiming] = []
    for column, threads, towers, run, images in (
        ("forward, 1 image, 1 core", 1, forward, partial(_forward, pixels=alone), 1),
        ("32 images, 1 core", 1, forward, partial(_forward, pixels=few), 32),
        (f"32 images, {cores} cores", cores, forward, partial(_forward, pixels=few), 32),
        (f"forward and backward, 64 images, {cores} cores", cores, backward, partial(_backward, pixels=many), 64),
    ):
        torch.set_num_threads(threads)
        seconds = _interleaved({name: partial(run, tower) for name, tower in towers.items()}, repeats)
        found += [TowerTiming(name, column, 1000 * value / images) for name, value in seconds.items()]
    return found


def _interleaved(runs: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    for run in runs.values():  # what is compiled or laid out at first use
        run()
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            begin = time.perf_counter()
            for _ in range(3):
                run()
            taken[name].append((time.perf_counter() - begin) / 3)
    return {name: statistics.median(values) for name, values in taken.items()}


def _forward(tower: Tower, pixels: torch.Tensor) -> None:
    with torch.inference_mode():
        tower(pixels)


def _backward(tower: Tower, pixels: torch.Tensor) -> None:
    tower(pixels).float().square().mean().backward()
