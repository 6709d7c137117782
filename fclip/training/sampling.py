"""Random choices as functions of the seed and the position in the run, so that a resumed run repeats them."""

import hashlib
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray


def derive_seed(seed: int, *key: str | int) -> int:
    """Return a 63-bit seed for a purpose and position in the run, such as ("step", 7)."""
    digest = hashlib.sha256(repr((seed, *key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def shuffled_order(seed: int, epoch: int, num_items: int) -> NDArray[np.int64]:
    """Return a random order of the items for a pass: int64 [num_items]."""
    return _generator(seed, "order", epoch).permutation(num_items)


def sample_items(seed: int, purpose: str, epoch: int, num_items: int, count: int) -> NDArray[np.int64]:
    """Sample `count` items for a pass uniformly without replacement: int64 [count], sorted."""
    return np.sort(_generator(seed, purpose, epoch).permutation(num_items)[:count])


def choose_alternatives(seed: int, purpose: str, epoch: int, weights: Sequence[Sequence[float]]) -> NDArray[np.int64]:
    """Sample one alternative per item for a pass, by the item's weights (at least one above 0): int64 [num_items]."""
    positions = _generator(seed, purpose, epoch).random(len(weights))
    chosen = np.empty(len(weights), np.int64)
    for item, item_weights in enumerate(weights):
        edges = np.cumsum(item_weights)
        last = np.searchsorted(edges, edges[-1])  # a position that rounds up to the end must not exceed it
        chosen[item] = min(np.searchsorted(edges, positions[item] * edges[-1], side="right"), last)
    return chosen


def group_by_category(
    items: NDArray[np.int64],
    categories: Sequence[str | None],
    *,
    batch_size: int,
    num_alike: int,
    seed: int,
    epoch: int,
) -> NDArray[np.int64]:
    """Reorder `items` so that each full batch has up to `num_alike` items of one category.

    The category is sampled in proportion to its remaining items. The rest of each batch follows the order of `items`
    and includes items without a category.
    """
    remaining: dict[str, list[int]] = {}
    for item in items[::-1]:
        category = categories[item]
        if category is not None:
            remaining.setdefault(category, []).append(int(item))
    generator = _generator(seed, "categories", epoch)
    names = list(remaining)
    groups: list[list[int]] = []
    for _ in range(len(items) // batch_size):
        counts = np.array([len(remaining[name]) for name in names], float)
        if num_alike < 2 or not counts.sum():
            groups.append([])
            continue
        pool = remaining[names[generator.choice(len(names), p=counts / counts.sum())]]
        groups.append([pool.pop() for _ in range(min(num_alike, len(pool)))])
    grouped = {item for group in groups for item in group}
    rest = iter([int(item) for item in items if int(item) not in grouped])
    batches = [[*group, *islice(rest, batch_size - len(group))] for group in groups]
    return np.array([*(item for batch in batches for item in batch), *rest], np.int64)


def _generator(seed: int, purpose: str, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive_seed(seed, purpose, epoch)))
