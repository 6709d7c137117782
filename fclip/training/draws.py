"""What chance decides, as functions of the seed and the place in the run: nothing has to be remembered to resume."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def derive(seed: int, *place: str | int) -> int:
    """A seed of 63 bits for one place in the run, independent of every other place's."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def order(seed: int, epoch: int, num_items: int) -> NDArray[np.int64]:
    """The order of the items in a pass: int64 [num_items]."""
    return _generator(seed, "order", epoch).permutation(num_items)


def choose(seed: int, what: str, epoch: int, weights: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """One alternative of each item in a pass, drawn by its weights (at least one above 0): int64 [num_items]."""
    positions = _generator(seed, what, epoch).random(len(weights))
    chosen = np.empty(len(weights), np.int64)
    for item, own in enumerate(weights):
        edges = np.cumsum(own)
        last = np.searchsorted(edges, edges[-1])  # where rounding up to the end would leave the alternatives
        chosen[item] = min(np.searchsorted(edges, positions[item] * edges[-1], side="right"), last)
    return chosen


def _generator(seed: int, what: str, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive(seed, what, epoch)))
