"""The cleaned texts and attributes of products, and the effect of each cleaning rule."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from fclip.captions.clean import CleanedText, Cleaner, CleaningConfig
from fclip.captions.gender import BRAND, gender_neutral

EXAMPLES, EXAMPLE_LENGTH = 5, 80


@dataclass(frozen=True)
class RuleHits:
    """The number of values that a rule changed, the number that it emptied, and shortened examples of removed text."""

    num_values: int
    num_emptied: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class ProductValues:
    """The non-empty values of a product by name, in order, and those of its cleaned values that a rule changed."""

    values: Mapping[str, str]
    changed: tuple[CleanedText, ...]


@dataclass
class _Tally:
    num_values: int = 0
    num_emptied: int = 0
    removed: Counter[str] = field(default_factory=Counter)


def read_values(
    products: pa.Table, cleaning: CleaningConfig, gender: Literal["keep", "neutral"]
) -> list[ProductValues]:
    """Clean the texts and attributes of a catalog's `products`. Values that become empty are left out.

    Raises:
        UserError: a pattern of `cleaning` takes too long on a text.
    """
    cleaner = Cleaner.from_config(cleaning)
    clean_attribute, clean_text = _cached(cleaner.attribute), _cached(cleaner.text)
    rows = []
    for attributes, texts in zip(*(products[name].to_pylist() for name in ("attributes", "texts")), strict=True):
        cleaned = {name: clean_attribute(value) for name, value in attributes}
        cleaned |= {name: clean_text(value) for name, value in texts}
        if gender == "neutral":
            brand = cleaned[BRAND].text if BRAND in cleaned else ""
            cleaned = {name: _make_neutral(each, brand) for name, each in cleaned.items()}
        values = {name: each.text for name, each in cleaned.items() if each.text}
        rows.append(ProductValues(values, tuple(each for each in cleaned.values() if each.removed)))
    return rows


def count_hits(changed: Iterable[CleanedText]) -> dict[str, RuleHits]:
    """Return the effect of each rule, by the rule's key, on the values of all products that a rule changed."""
    tallies: dict[str, _Tally] = {}
    for each in changed:
        _tally(tallies, each)
    return {key: _hits(tally) for key, tally in sorted(tallies.items())}


def _cached(clean: Callable[[str], CleanedText]) -> Callable[[str], CleanedText]:
    """Return `clean` with a cache, since attribute values often repeat."""
    known: dict[str, CleanedText] = {}

    def cached(value: str) -> CleanedText:
        if value not in known:
            known[value] = clean(value)
        return known[value]

    return cached


def _make_neutral(cleaned: CleanedText, brand: str) -> CleanedText:
    neutral = gender_neutral(cleaned.text, brand)
    return CleanedText(neutral.text, {**cleaned.removed, **neutral.removed})


def _tally(tallies: dict[str, _Tally], cleaned: CleanedText) -> None:
    for number, (key, removed) in enumerate(reversed(cleaned.removed.items())):
        tally = tallies.setdefault(key, _Tally())
        tally.num_values += 1
        tally.num_emptied += number == 0 and not cleaned.text
        tally.removed.update(removed)


def _hits(tally: _Tally) -> RuleHits:
    commonest = sorted(tally.removed, key=lambda removed: (-tally.removed[removed], removed))[:EXAMPLES]
    shortened = (removed if len(removed) <= EXAMPLE_LENGTH else f"{removed[:EXAMPLE_LENGTH]}…" for removed in commonest)
    return RuleHits(tally.num_values, tally.num_emptied, tuple(shortened))
