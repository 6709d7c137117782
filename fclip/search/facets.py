"""Counts of attribute values: what a filter would leave."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fclip.search.catalog import DATASET, Catalog

Bools = NDArray[np.bool_]


class Facets:
    """The attribute values of an index and the products that have them, in memory: 4 bytes for each pair."""

    def __init__(self, catalog: Catalog, num_products: int) -> None:
        self._catalog = catalog
        self._num_products = num_products

    def count(self, filters: Mapping[str, Sequence[str]], included: Bools | None) -> dict[str, dict[str, int]]:
        """Return, by attribute and value, the number of products that match the filters on the other attributes.

        Args:
            filters: from `Catalog.resolve`. included: bool [products], which were not taken down; None for all.
        """
        values, starts, products = self._pairs
        matching = {
            name: self._catalog.matching({name: wanted}, self._num_products) for name, wanted in filters.items()
        }
        everything = np.ones(self._num_products, bool) if included is None else included
        counts: dict[str, dict[str, int]] = {}
        by_filter: dict[str, NDArray[np.int64]] = {}
        for position, (name, value) in enumerate(values):
            own = name if name in filters else ""
            if own not in by_filter:
                allowed = np.logical_and.reduce([everything, *(m for n, m in matching.items() if n != own)])
                by_filter[own] = np.add.reduceat(allowed[products].astype(np.int64), starts)
            counts.setdefault(name, {})[value] = int(by_filter[own][position])
        return {
            name: dict(sorted(found.items(), key=lambda item: (-item[1], item[0]))) for name, found in counts.items()
        }

    def suggestions(self, typed: str, number: int) -> list[str]:
        """Return completions of what was typed, the most frequent first.

        The last word is completed to attribute values that have a word which begins with it.
        """
        before, _, last = typed.rstrip().casefold().rpartition(" ")
        if not last or typed.endswith(" "):
            return []
        completed: dict[str, int] = {}
        for name, values in self._counts.items():
            if name == DATASET:
                continue
            for value, count in values.items():
                plain = " ".join(value.split()).casefold()
                if any(word.startswith(last) for word in plain.split()) and plain not in before.split():
                    completed[plain] = completed.get(plain, 0) + count
        best = sorted(completed, key=lambda value: (-completed[value], value))[:number]
        return [f"{before} {value}".strip() for value in best]

    @cached_property
    def _counts(self) -> dict[str, dict[str, int]]:
        return self._catalog.attribute_counts()

    @cached_property
    def _pairs(self) -> tuple[list[tuple[str, str]], NDArray[np.int64], NDArray[np.int32]]:
        """The (attribute, value) pairs, the start of each in the list of products, and the products."""
        values, products = self._catalog.values_and_products()
        lengths = [len(each) for each in products]
        starts = np.cumsum([0, *lengths[:-1]]).astype(np.int64)
        return values, starts, np.concatenate(products) if products else np.empty(0, np.int32)
