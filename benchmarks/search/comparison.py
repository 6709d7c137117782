"""Time and recall of all tools on the same inputs, in turn."""

import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.embed.runs import interleaved
from benchmarks.search.inputs import MASKS, QUERIES, Inputs, K, nearest_similarity
from benchmarks.search.processes import Runner, ToolProcess
from benchmarks.search.tools import APPROXIMATE, EXACT, OURS, TOOLS
from fclip.search.manifest import read_manifest

PEERS = tuple(name for name in TOOLS if name != OURS)
MODES = (EXACT, APPROXIMATE)
TOLERANCE = 1e-5  # of cosine similarities in float32
Mask = NDArray[np.bool_] | None


@dataclass(frozen=True)
class Row:
    """A comparison of the tools.

    Attributes:
        images: number of images. filter: the share of them that the filter should leave; None without a filter.
        left: the share that it leaves.
        milliseconds: median time of a query by tool, with its filter. filter_milliseconds: that of the filter alone.
        recall: share of the 10 nearest images that are found, by tool.
        ratio: our time divided by that of each peer; below 1, we are faster.
    """

    images: int
    mode: str
    filter: str | None
    left: float
    milliseconds: dict[str, float]
    filter_milliseconds: dict[str, float]
    recall: dict[str, float]
    ratio: dict[str, float]


def compare(runner: Runner, inputs: Inputs, rounds: int, num_queries: int) -> list[Row]:
    """Return one row without a filter and one for each filter, for exact and for approximate search.

    Approximate search is left out if our index has none, since its recall is too low.
    """
    queries = inputs.load(QUERIES)[:num_queries]
    vectors = np.load(inputs.vectors, mmap_mode="r")
    bits = np.unpackbits(inputs.load(MASKS), axis=1, count=len(vectors), bitorder="little").astype(bool)
    masks: dict[str | None, Mask] = {None: None, **dict(zip(inputs.filters, bits, strict=True))}
    limits = dict(zip(masks, nearest_similarity(inputs, queries, list(masks.values())), strict=True))
    parts = [part.tolist() for part in np.array_split(np.arange(len(queries)), rounds) if len(part)]
    rows = []
    for mode in searched_modes(inputs):
        with ExitStack() as stack:
            tools = {name: stack.enter_context(runner.tool(name, mode, inputs.folder)) for name in TOOLS}
            for tool in tools.values():
                tool.ask(None, range(len(queries)))  # reads the cells of the index
            for share, mask in masks.items():
                answers = _answers(tools, share, parts)
                left = len(vectors) if mask is None else int(mask.sum())
                recall = {
                    name: _recall(found["images"], queries, vectors, mask, limits[share] - TOLERANCE, min(K, left))
                    for name, found in answers.items()
                }
                seconds = {name: np.array(found["seconds"]) for name, found in answers.items()}
                rows.append(_row(len(vectors), mode, share, left / len(vectors), seconds, recall))
    return rows


def searched_modes(inputs: Inputs) -> tuple[str, ...]:
    """Return how our index can search."""
    return MODES if read_manifest(inputs.index).approximation else (EXACT,)


def _answers(
    tools: Mapping[str, ToolProcess], share: str | None, parts: Sequence[list[int]]
) -> dict[str, dict[str, list[Any]]]:
    """Return the answers to all queries by tool. The tools take turns, with one part of the queries at a time."""
    remaining = {name: iter(parts) for name in tools}
    jobs = {name: partial(lambda name: tools[name].ask(share, next(remaining[name])), name) for name in tools}
    answers = interleaved(len(parts), jobs)
    return {
        name: {key: [each for part in given for each in part[key]] for key in ("seconds", "images")}
        for name, given in answers.items()
    }


def _recall(
    images: Sequence[Sequence[int]],
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    mask: Mask,
    limits: NDArray[np.float32],
    number: int,
) -> float:
    """Return the share of the `number` nearest images that were found. Images of equal similarity count as the same."""
    found = 0
    for listed, query, limit in zip(images, queries, limits, strict=True):
        allowed = [image for image in set(listed) if mask is None or mask[image]]
        found += min(number, int((vectors[allowed] @ query >= limit).sum())) if allowed else 0
    return found / (number * len(queries))


def _row(
    num_images: int,
    mode: str,
    share: str | None,
    left: float,
    seconds: Mapping[str, NDArray[np.float64]],
    recall: dict[str, float],
) -> Row:
    medians = {name: 1000 * float(np.median(each.sum(axis=1))) for name, each in seconds.items()}
    filters = {name: 1000 * statistics.median(each[:, 0].tolist()) for name, each in seconds.items()}
    ratio = {peer: medians[OURS] / medians[peer] for peer in PEERS}
    return Row(num_images, mode, share, left, medians, filters, recall, ratio)


def growth(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Return the exponent with which values grow with the size: the slope of the regression of their logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
