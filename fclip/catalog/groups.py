"""Group linked products, and find the products to remove so that no group is in two splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LINK_KINDS = ("same parent", "same text", "same image", "near-duplicate image")


@dataclass(frozen=True)
class ProductLinks:
    """The links between n products. Products with equal codes share that property; −1 means that there is none.

    Attributes:
        parent, text: codes [n] of parent ids and of normalised texts.
        product, appearance: int [k], aligned: `product[i]` has an image with the appearance `appearance[i]`. Images
            that differ only in their encoding have the same appearance.
        similar: int [m, 2], pairs of appearances that are near-duplicates.
    """

    parent: NDArray[np.int64]
    text: NDArray[np.int64]
    product: NDArray[np.int64]
    appearance: NDArray[np.int64]
    similar: NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """A product that is linked to a product of an earlier split: the split, the kind of link, and that product."""

    product: int
    split: str
    link: str
    linked_to: int


def group_products(links: ProductLinks) -> NDArray[np.int64]:
    """Return the group of each product [n]. A chain of links joins products into one group."""
    return _components(links, parent=True, text=True, similar=True)


def find_leaks(links: ProductLinks, group: NDArray[np.int64], split: Sequence[str], order: Sequence[str]) -> list[Leak]:
    """Return the products to remove so that each group is in one split: its first split in `order`."""
    rank = np.array([order.index(each) for each in split], np.int64)
    first = np.full(group.max(initial=-1) + 1, len(order))
    np.minimum.at(first, group, rank)
    target = first[group]
    stays = rank == target
    removed = np.flatnonzero(~stays)
    if not len(removed):
        return []
    reasons: dict[int, tuple[str, int]] = {}
    relations = (
        links.parent,
        links.text,
        _components(links, parent=False, text=False, similar=False),
        _components(links, parent=False, text=False, similar=True),
        group,
    )
    for kind, relation in zip((*LINK_KINDS, "indirect link"), relations, strict=True):
        shared, first_index = np.unique(relation[stays], return_index=True)
        kept = np.flatnonzero(stays)[first_index]
        for product in removed:
            position = np.searchsorted(shared, relation[product])
            if relation[product] >= 0 and position < len(shared) and shared[position] == relation[product]:
                reasons.setdefault(int(product), (kind, int(kept[position])))
    return [Leak(product, order[target[product]], *reasons[product]) for product in sorted(reasons)]


def _components(links: ProductLinks, *, parent: bool, text: bool, similar: bool) -> NDArray[np.int64]:
    """Return the connected component of each product, by appearances and the selected kinds of link."""
    num_products = len(links.parent)
    appearances = num_products + links.appearance
    edges = [np.stack([links.product, appearances], 1)]
    num_nodes = num_products + max(int(links.appearance.max(initial=-1)), int(links.similar.max(initial=-1))) + 1
    if similar:
        edges.append(links.similar + num_products)
    for selected, code in ((parent, links.parent), (text, links.text)):
        if selected:
            has = np.flatnonzero(code >= 0)
            edges.append(np.stack([has, num_nodes + code[has]], 1))
            num_nodes += int(code.max(initial=-1)) + 1
    begin, end = np.concatenate(edges).T
    from scipy.sparse import coo_matrix  # scipy takes half a second to import
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(begin), bool), (begin, end)), shape=(num_nodes, num_nodes))
    _, component = connected_components(graph, directed=False)
    return component[:num_products].astype(np.int64)
