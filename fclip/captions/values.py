"""What each product says: its texts and attributes, cleaned; and what cleaning took out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from fclip.captions.clean import Cleaned, Cleaner, CleaningConfig
from fclip.captions.gender import BRAND, neutral

EXAMPLES, EXAMPLE_LENGTH = 5, 80


@dataclass(frozen=True)
class RuleHits:
    """How many texts and attributes a rule changed, how many of them to nothing, and what it took out, shortened."""

    num_values: int
    num_emptied: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Values:
    """Of each product, in order, its values by name (none of them empty); and what each rule did, by the rule's key."""

    products: Sequence[Mapping[str, str]]
    hits: Mapping[str, RuleHits]


@dataclass
class _Tally:
    num_values: int = 0
    num_emptied: int = 0
    taken: Counter[str] = field(default_factory=Counter)


def read_values(products: pa.Table, cleaning: CleaningConfig, gender: Literal["keep", "neutral"]) -> Values:
    """Clean the texts and attributes of a catalog's `products`; what is left empty is no value.

    Raises:
        UserError: a pattern of `cleaning` takes too long on a text.
    """
    cleaner = Cleaner.of(cleaning)
    tallies: dict[str, _Tally] = {}
    clean_attribute, clean_text = _remembering(cleaner.attribute), _remembering(cleaner.text)
    rows = []
    for attributes, texts in zip(*(products[name].to_pylist() for name in ("attributes", "texts")), strict=True):
        cleaned = {name: clean_attribute(value) for name, value in attributes}
        cleaned |= {name: clean_text(value) for name, value in texts}
        if gender == "neutral":
            brand = cleaned[BRAND].text if BRAND in cleaned else ""
            cleaned = {name: _then_neutral(each, brand) for name, each in cleaned.items()}
        for each in cleaned.values():
            _tally(tallies, each)
        rows.append({name: each.text for name, each in cleaned.items() if each.text})
    return Values(rows, {key: _hits(tally) for key, tally in sorted(tallies.items())})


def _remembering(clean: Callable[[str], Cleaned]) -> Callable[[str], Cleaned]:
    """`clean` that does the same value, as attributes often are, once."""
    known: dict[str, Cleaned] = {}

    def remembered(value: str) -> Cleaned:
        if value not in known:
            known[value] = clean(value)
        return known[value]

    return remembered


def _then_neutral(cleaned: Cleaned, brand: str) -> Cleaned:
    then = neutral(cleaned.text, brand)
    return Cleaned(then.text, {**cleaned.removed, **then.removed})


def _tally(tallies: dict[str, _Tally], cleaned: Cleaned) -> None:
    for number, (key, removed) in enumerate(reversed(cleaned.removed.items())):
        tally = tallies.setdefault(key, _Tally())
        tally.num_values += 1
        tally.num_emptied += number == 0 and not cleaned.text
        tally.taken.update(removed)


def _hits(tally: _Tally) -> RuleHits:
    commonest = sorted(tally.taken, key=lambda taken: (-tally.taken[taken], taken))[:EXAMPLES]
    shortened = (taken if len(taken) <= EXAMPLE_LENGTH else f"{taken[:EXAMPLE_LENGTH]}…" for taken in commonest)
    return RuleHits(tally.num_values, tally.num_emptied, tuple(shortened))
