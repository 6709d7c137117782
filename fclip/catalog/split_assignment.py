"""Assign each product to a split so that no group of linked products is in two splits."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from fclip.catalog.config import IngestConfig
from fclip.catalog.groups import ProductLinks, find_leaks, group_products
from fclip.catalog.hold_outs import hold_out_masks
from fclip.catalog.image_store import ImageStore
from fclip.catalog.products import Products
from fclip.catalog.rows import Refusal, RefusedRow
from fclip.catalog.splits import split_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitAssignment:
    """The splits and groups of n products.

    Attributes:
        split: the split of each product [n].
        group: int [n], the group of each product; a chain of links joins products into one group.
        group_id: the name of each group: the split key of its product with the smallest id.
        kept: the indices of the products that stay, in order.
        leaks: removed products, which are linked to a product of an earlier split.
        num_published_links: products that are linked to another split but stay, since their source has fixed splits.
    """

    split: Sequence[str]
    group: NDArray[np.int64]
    group_id: Sequence[str]
    kept: NDArray[np.int64]
    leaks: list[RefusedRow]
    num_published_links: int

    def image_numbers(self, products: Products) -> NDArray[np.int64]:
        """Return the distinct store numbers of the images of the products that stay."""
        product, number = products.image_lists()
        stays = np.zeros(len(products), bool)
        stays[self.kept] = True
        return np.unique(number[stays[product]])


def assign_splits(products: Products, store: ImageStore, config: IngestConfig, dataset: str) -> SplitAssignment:
    """Assign each product to a split: its hold-out, else the split of its source, else a split by the hash of its key.

    Then products that are linked to an earlier split (in the order train, val, test, hold-outs) are removed. In a
    source with fixed splits only links to train count, since its test set is compared with published results.
    """
    dataset_config = config.datasets[dataset]
    split = _splits(products, config, dataset)
    links = _product_links(products, store, config)
    group = group_products(links)
    leaks = find_leaks(links, group, split, dataset_config.splits)
    published = bool(dataset_config.fixed_splits)
    dropped = [leak for leak in leaks if leak.split == "train" or not published]
    ids, rows = products.table["product_id"], products.table["source_row"]
    refused = [
        RefusedRow(
            rows[leak.product].as_py(),
            ids[leak.product].as_py(),
            Refusal(
                "split",
                f"{leak.link} in {leak.split}",
                f"in {split[leak.product]}, linked to {ids[leak.linked_to].as_py()!r} in {leak.split}",
            ),
            products.row(leak.product),
        )
        for leak in dropped
    ]
    kept = np.ones(len(products), bool)
    kept[[leak.product for leak in dropped]] = False
    # The main guarantee: each group is in one split.
    group_splits = {(int(group[index]), split[index]) for index in np.flatnonzero(kept)}
    assert published or len(group_splits) == len({each for each, _ in group_splits})
    return SplitAssignment(
        split, group, _group_ids(products, group), np.flatnonzero(kept), refused, len(leaks) - len(dropped)
    )


def _splits(products: Products, config: IngestConfig, dataset: str) -> list[str]:
    dataset_config = config.datasets[dataset]
    fixed = products.table["fixed_split"].to_pylist()
    keys = products.table["split_key"].to_pylist()
    split = [given or split_of(key, dataset_config.fractions) for given, key in zip(fixed, keys, strict=True)]
    masks = hold_out_masks(
        products, dataset_config.hold_outs, dataset=dataset, is_sample=config.settings.limit is not None
    )
    for name, mask in reversed(masks.items()):  # the first hold-out of a product wins
        for index in np.flatnonzero(mask):
            split[index] = name
    return split


def _product_links(products: Products, store: ImageStore, config: IngestConfig) -> ProductLinks:
    appearance_of, similar = store.near_duplicates(config.settings.near_duplicates)
    product, number = products.image_lists()
    appearance = appearance_of[number]
    # Images of deleted products create no links: the result must not depend on earlier ingests.
    shown = np.zeros(int(appearance_of.max(initial=-1)) + 1, bool)
    shown[appearance] = True
    return ProductLinks(
        parent=products.family_codes(),
        text=products.codes("text_key"),
        product=product,
        appearance=appearance,
        similar=similar[shown[similar].all(1)],
    )


def _group_ids(products: Products, group: NDArray[np.int64]) -> list[str]:
    order = pc.sort_indices(products.table["product_id"]).to_numpy()
    _, first = np.unique(group[order], return_index=True)
    keys = products.table["split_key"].combine_chunks()
    names = keys.take(order[first]).to_pylist()
    return [str(name) for name in names]
