"""Random choices as functions of the seed and the place in the run, so that a resumed run makes the same ones."""

import hashlib
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray


def derive(seed: int, *place: str | int) -> int:
    """A seed of 63 bits for one place in the run, independent of every other place's."""
    digest = hashlib.sha256(repr((seed, *place)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def order(seed: int, epoch: int, num_items: int) -> NDArray[np.int64]:
    """The order of the items in a pass: int64 [num_items]."""
    return _generator(seed, "order", epoch).permutation(num_items)


def sample(seed: int, what: str, epoch: int, num_items: int, count: int) -> NDArray[np.int64]:
    """`count` of the items in a pass, each as likely as another, in their order: int64 [count]."""
    return np.sort(_generator(seed, what, epoch).permutation(num_items)[:count])


def choose(seed: int, what: str, epoch: int, weights: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """One alternative of each item in a pass, drawn by its weights (at least one above 0): int64 [num_items]."""
    positions = _generator(seed, what, epoch).random(len(weights))
    chosen = np.empty(len(weights), np.int64)
    for item, own in enumerate(weights):
        edges = np.cumsum(own)
        last = np.searchsorted(edges, edges[-1])  # where rounding up to the end would leave the alternatives
        chosen[item] = min(np.searchsorted(edges, positions[item] * edges[-1], side="right"), last)
    return chosen


def group_by_category(
    places: NDArray[np.int64],
    categories: Sequence[str | None],
    *,
    batch_size: int,
    num_alike: int,
    seed: int,
    epoch: int,
) -> NDArray[np.int64]:
    """The order `places` changed so that of each full batch up to `num_alike` items are of one category.

    The category is drawn in proportion to the items that it has left; the rest of each batch comes in the order of
    `places`. Items without a category are in the rest.
    """
    left: dict[str, list[int]] = {}
    for place in places[::-1]:
        category = categories[place]
        if category is not None:
            left.setdefault(category, []).append(int(place))
    generator = _generator(seed, "categories", epoch)
    names = list(left)
    groups: list[list[int]] = []
    for _ in range(len(places) // batch_size):
        counts = np.array([len(left[name]) for name in names], float)
        if num_alike < 2 or not counts.sum():
            groups.append([])
            continue
        own = left[names[generator.choice(len(names), p=counts / counts.sum())]]
        groups.append([own.pop() for _ in range(min(num_alike, len(own)))])
    taken = {place for group in groups for place in group}
    rest = iter([int(place) for place in places if int(place) not in taken])
    batches = [[*group, *islice(rest, batch_size - len(group))] for group in groups]
    return np.array([*(place for batch in batches for place in batch), *rest], np.int64)


def _generator(seed: int, what: str, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive(seed, what, epoch)))
