"""Which side of the split each product is on, so that nothing is on two."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fclip.catalog.config import IngestConfig
from fclip.catalog.groups import Ties, find_leaks, group_products
from fclip.catalog.hold_outs import held_out
from fclip.catalog.image_store import ImageStore
from fclip.catalog.products import Products
from fclip.catalog.rows import Refusal, RefusedRow
from fclip.catalog.splits import split_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitAssignment:
    """Where n products ended.

    Attributes:
        split: of each product [n].
        group: [n], a number that products share where a chain of ties joins them.
        group_id: a name of each group, that of its product of the smallest id.
        kept: the places of the products that stay, in order.
        leaks: those that had to go, since they are tied to one of an earlier split.
        num_published_ties: products that are tied to another split and stay, since their source comes split.
    """

    split: Sequence[str]
    group: NDArray[np.int64]
    group_id: Sequence[str]
    kept: NDArray[np.int64]
    leaks: list[RefusedRow]
    num_published_ties: int

    def image_numbers(self, products: Products) -> NDArray[np.int64]:
        """The images of the products that stay, by number in the store, each once."""
        place, number = products.image_lists()
        stays = np.zeros(len(products), bool)
        stays[self.kept] = True
        return np.unique(number[stays[place]])


def assign_splits(products: Products, store: ImageStore, config: IngestConfig, dataset: str) -> SplitAssignment:
    """Put each product into a split: its hold-out, else its source's, else by a hash of what it belongs to.

    Then products of a later split that are tied to one of an earlier (train, val, test, hold-outs) go, except in a
    source that comes split: there only ties to train count, since its test set is compared with published figures.
    """
    own = config.datasets[dataset]
    split = _splits(products, config, dataset)
    ties = _ties(products, store, config)
    group = group_products(ties)
    leaks = find_leaks(ties, group, split, own.splits)
    published = bool(own.fixed_splits)
    dropped = [leak for leak in leaks if leak.split == "train" or not published]
    ids, rows = products.table["product_id"], products.table["source_row"]
    refused = [
        RefusedRow(
            rows[leak.product].as_py(),
            ids[leak.product].as_py(),
            Refusal(
                "split",
                f"{leak.tie} in {leak.split}",
                f"in {split[leak.product]}, tied to {ids[leak.tied_to].as_py()!r} in {leak.split}",
            ),
            products.row(leak.product),
        )
        for leak in dropped
    ]
    kept = np.ones(len(products), bool)
    kept[[leak.product for leak in dropped]] = False
    # One side each: what the splits are for, so it is looked at once more, by itself.
    pairs = {(int(group[place]), split[place]) for place in np.flatnonzero(kept)}
    assert published or len(pairs) == len({each for each, _ in pairs})
    return SplitAssignment(
        split, group, _group_ids(products, group), np.flatnonzero(kept), refused, len(leaks) - len(dropped)
    )


def _splits(products: Products, config: IngestConfig, dataset: str) -> list[str]:
    own = config.datasets[dataset]
    fixed = products.table["fixed_split"].to_pylist()
    keys = products.table["split_key"].to_pylist()
    split = [given or split_of(key, own.split) for given, key in zip(fixed, keys, strict=True)]
    taken = held_out(products, own.hold_outs, dataset=dataset, is_sample=config.limit is not None)
    for name, inside in reversed(taken.items()):  # the first hold-out that wants a product has it
        for place in np.flatnonzero(inside):
            split[place] = name
    return split


def _ties(products: Products, store: ImageStore, config: IngestConfig) -> Ties:
    look_of, similar = store.near_duplicates(config.near_duplicates)
    product, number = products.image_lists()
    look = look_of[number]
    # Images of products that are gone tie nothing: what comes out must not depend on what was there once.
    shown = np.zeros(int(look_of.max(initial=-1)) + 1, bool)
    shown[look] = True
    return Ties(
        parent=products.family_codes(),
        text=products.codes("text_key"),
        product=product,
        look=look,
        similar=similar[shown[similar].all(1)],
    )


def _group_ids(products: Products, group: NDArray[np.int64]) -> list[str]:
    order = pc.sort_indices(products.table["product_id"]).to_numpy()
    _, first = np.unique(group[order], return_index=True)
    keys = products.table["split_key"].combine_chunks()
    names = keys.take(order[first]).to_pylist()
    return [str(name) for name in names]
