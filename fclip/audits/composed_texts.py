"""The texts of the audit of composition: with one value replaced, of two garments, and with a negation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NUM_PAIRS = 300
MIN_HAVING = 5
"""Smallest number of products of a category with a value, and of others without it, for a negation."""
NEGATIONS = ("{category}, not {value}", "{category} without {value}")


@dataclass(frozen=True)
class Swap:
    """A product with a text of its values and the same text with the value of one meaning replaced."""

    row: int
    text: str
    swapped: str


@dataclass(frozen=True)
class Pair:
    """Two products of different categories and colours.

    Attributes:
        text, swapped: "red shirt, blue jeans" and "blue shirt, red jeans". paraphrase: of the first.
        parts, swapped_parts: the texts of each garment alone.
    """

    rows: tuple[int, int]
    text: str
    swapped: str
    paraphrase: str
    parts: tuple[str, str]
    swapped_parts: tuple[str, str]


@dataclass(frozen=True)
class Negation:
    """Queries that exclude a value, in one category, and the rows of the products with and without the value."""

    texts: tuple[str, ...]
    without: tuple[int, ...]
    having: tuple[int, ...]


def make_swaps(
    meaning: str, values: Mapping[str, Sequence[str | None]], random: np.random.Generator
) -> tuple[Swap, ...]:
    """One swap for each product that has the value; the other value is that of another product."""
    given = [own for own in values[meaning] if own is not None]
    if len({own.casefold() for own in given}) < 2:
        return ()
    result = []
    for row, own in enumerate(values[meaning]):
        if own is None:
            continue
        others = [each for each in given if each.casefold() != own.casefold()]
        swapped = others[int(random.integers(len(others)))]
        described = {name: each for name in ("colour", "pattern", "category") if (each := values[name][row])}
        text, other = " ".join(described.values()), " ".join({**described, meaning: swapped}.values())
        result.append(Swap(row, text, other))
    return tuple(result)


def make_pairs(
    colours: Sequence[str | None], categories: Sequence[str | None], random: np.random.Generator
) -> tuple[Pair, ...]:
    """Pairs of products that differ in both, at most `NUM_PAIRS`; each product is in at most one."""
    known = [row for row in range(len(colours)) if colours[row] and categories[row]]
    order = [known[place] for place in random.permutation(len(known))]
    pairs: list[Pair] = []
    for first, second in zip(order[0::2], order[1::2], strict=False):
        a, b = (f"{colours[row]}" for row in (first, second))
        c, d = (f"{categories[row]}" for row in (first, second))
        if a.casefold() == b.casefold() or c.casefold() == d.casefold() or len(pairs) == NUM_PAIRS:
            continue
        own, swapped = (f"{a} {c}", f"{b} {d}"), (f"{b} {c}", f"{a} {d}")
        paraphrase = f"a {c} in {a} with {d} in {b}"
        pairs.append(Pair((first, second), ", ".join(own), ", ".join(swapped), paraphrase, own, swapped))
    return tuple(pairs)


def make_negations(excluded: Sequence[str | None], categories: Sequence[str | None]) -> tuple[Negation, ...]:
    """A negation for each category and each value that `MIN_HAVING` of its products have and as many others do not.

    Values that differ only in case are one value.
    """
    result = []
    for category in sorted({name for name in categories if name is not None}):
        value_of = {
            row: each
            for row, (own, each) in enumerate(zip(categories, excluded, strict=True))
            if own == category and each is not None
        }
        named = {each.casefold(): each for each in sorted(value_of.values(), reverse=True)}
        for key, each in sorted(named.items()):
            having = tuple(row for row, own in value_of.items() if own.casefold() == key)
            without = tuple(row for row, own in value_of.items() if own.casefold() != key)
            if min(len(having), len(without)) >= MIN_HAVING:
                texts = tuple(text.format(category=category, value=each) for text in NEGATIONS)
                result.append(Negation(texts, without, having))
    return tuple(result)
