"""Which products belong together, and which must go so that no group is on two sides of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

TIES = ("same parent", "same text", "same image", "near-duplicate image")


@dataclass(frozen=True)
class Ties:
    """What ties n products together. A code is a number that products share where they share the thing; −1: none.

    Attributes:
        parent, text: codes [n], of parent or variant ids and of normalised texts.
        product, look: int [k], aligned: product `product[i]` shows the look `look[i]`, a code of pictures that are the
            same but for their encoding.
        similar: int [m, 2], pairs of looks that are near-duplicates.
    """

    parent: NDArray[np.int64]
    text: NDArray[np.int64]
    product: NDArray[np.int64]
    look: NDArray[np.int64]
    similar: NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """A product that is tied to one of an earlier split: how, and to which product."""

    product: int
    split: str
    tie: str
    tied_to: int


def group_products(ties: Ties) -> NDArray[np.int64]:
    """The group of each product [n]: what a chain of ties joins is one."""
    return _components(ties, parent=True, text=True, similar=True)


def find_leaks(ties: Ties, group: NDArray[np.int64], split: Sequence[str], order: Sequence[str]) -> list[Leak]:
    """The products to drop so that each group is in one split: the first in `order` that it has a product in."""
    rank = np.array([order.index(each) for each in split], np.int64)
    first = np.full(group.max(initial=-1) + 1, len(order))
    np.minimum.at(first, group, rank)
    home = first[group]
    stays = rank == home
    goes = np.flatnonzero(~stays)
    if not len(goes):
        return []
    why: dict[int, tuple[str, int]] = {}
    relations = (
        ties.parent,
        ties.text,
        _components(ties, parent=False, text=False, similar=False),
        _components(ties, parent=False, text=False, similar=True),
        group,
    )
    for tie, relation in zip((*TIES, "through others"), relations, strict=True):
        shared, at = np.unique(relation[stays], return_index=True)
        kept = np.flatnonzero(stays)[at]
        for product in goes:
            place = np.searchsorted(shared, relation[product])
            if relation[product] >= 0 and place < len(shared) and shared[place] == relation[product]:
                why.setdefault(int(product), (tie, int(kept[place])))
    return [Leak(product, order[home[product]], *why[product]) for product in sorted(why)]


def _components(ties: Ties, *, parent: bool, text: bool, similar: bool) -> NDArray[np.int64]:
    """Connected components of products, looks and, where asked for, parents and texts, as codes of the products."""
    num_products = len(ties.parent)
    looks = num_products + ties.look
    edges = [np.stack([ties.product, looks], 1)]
    num_nodes = num_products + max(int(ties.look.max(initial=-1)), int(ties.similar.max(initial=-1))) + 1
    if similar:
        edges.append(ties.similar + num_products)
    for wanted, code in ((parent, ties.parent), (text, ties.text)):
        if wanted:
            has = np.flatnonzero(code >= 0)
            edges.append(np.stack([has, num_nodes + code[has]], 1))
            num_nodes += int(code.max(initial=-1)) + 1
    begin, end = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(begin), bool), (begin, end)), shape=(num_nodes, num_nodes))
    _, component = connected_components(graph, directed=False)
    return component[:num_products].astype(np.int64)
