"""Which attribute of a catalog is the category, the colour, the gender, ..., and what their values mean."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

from fclip.audits.data import Attributes
from fclip.catalog.mapping.known_names import KNOWN_NAMES, name_key
from fclip.errors import UserError
from fclip.evaluation.catalog import CatalogProduct

MEANINGS = tuple(field.name for field in fields(Attributes))
OTHER_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "pattern": (("pattern", "pattern name", "print", "muster", "motif", "estampado", "fantasia", "patroon"),),
    "date": (
        ("date", "arrival", "arrival date", "launch date", "created at", "published at", "first seen", "date added"),
        ("year", "season year", "datum", "fecha", "data"),
    ),
}
"""Usual names of the attributes that `KNOWN_NAMES` does not have, in groups, the best group first."""


def find_attributes(
    products: Sequence[CatalogProduct], configured: Mapping[str, str | None], category: str | None
) -> Attributes:
    """Return the attributes of the products by their meaning.

    An attribute is the one that `configured` names, if a product has it; for the category also `category`; else one
    with a usual name.

    Args:
        configured: the setting `audit.attributes`; its keys are of `MEANINGS`.
        category: the attribute that the evaluation of the dataset classifies (`DatasetEvaluation.label`), or None.
    """
    known = Counter(name for product in products for name, value in product.attributes.items() if value)
    chosen: dict[str, str | None] = {}
    for meaning in MEANINGS:
        if meaning in configured and ((name := configured[meaning]) is None or name in known):
            chosen[meaning] = name
        elif meaning == "category" and category in known:
            chosen[meaning] = category
        else:
            chosen[meaning] = _usual(meaning, list(known))
    return Attributes(**chosen)


def require_attributes(products: Iterable[CatalogProduct], configured: Mapping[str, str | None]) -> None:
    """Check that every attribute that `configured` names is one of the products of all datasets together.

    `audit.attributes` is one setting for all datasets of a workspace, so a single dataset may lack an attribute.

    Raises:
        UserError: no product of any dataset has an attribute.
    """
    known = {name for product in products for name, value in product.attributes.items() if value}
    for meaning, name in configured.items():
        if name is not None and name not in known:
            raise UserError(
                f"params.yaml: audit.attributes.{meaning}: no product has the attribute `{name}`; the attributes are "
                f"{', '.join(sorted(known)) or 'none'}; null uses none"
            )


def _usual(meaning: str, names: Sequence[str]) -> str | None:
    if meaning in names:
        return meaning
    for group in {**KNOWN_NAMES, **OTHER_NAMES}[meaning]:
        keys = set(map(name_key, group))
        if found := sorted(name for name in names if name_key(name) in keys):
            return found[0]
    return None


def value(product: CatalogProduct, attribute: str | None) -> str | None:
    """Return the value of an attribute of a product, or None."""
    return (product.attributes.get(attribute) or None) if attribute else None


_GENDERS = {
    "men": "men man mens mans male males m gents gentlemen adultmen menswear herren herr homme hommes "
    "hombre hombres uomo",
    "women": "women woman womens womans female females f w ladies lady adultwomen womenswear damen dame femme femmes "
    "mujer mujeres donna",
    "boys": "boys boy boyswear jungen jungs garcon garcons nino ninos bambino",
    "girls": "girls girl girlswear madchen fille filles nina ninas bambina",
    "unisex": "unisex all adults everyone both genderneutral neutral unisexadult unisexadults mixte mixto unissex",
    "kids": "kids kid children child childrens unisexkids unisexchildren baby babies infant infants toddler toddlers "
    "kinder kind enfant enfants",
}
_MEANING = {word: gender for gender, words in _GENDERS.items() for word in words.split()}


def gender_of(label: str) -> str | None:
    """Return what a gender label means: men, women, boys, girls, unisex or kids; None if it is not known.

    A label that names both men and women, or both boys and girls, means unisex or kids.
    """
    if found := _MEANING.get(name_key(label)):
        return found
    words = {_MEANING.get(name_key(word)) for word in re.split(r"[\s,;/|&+]+|\band\b", label) if name_key(word)}
    if words == {"men", "women"}:
        return "unisex"
    if words == {"boys", "girls"}:
        return "kids"
    return words.pop() if len(words) == 1 else None


def price_of(text: str) -> float | None:
    """Return the number of a price such as "19.99", "1.299,00 €" or "$1,299"; None if there is not exactly one."""
    found = re.findall(r"\d[\d.,'\u2019 \u00a0]*\d|\d", text)
    if len(found) != 1:
        return None
    digits = re.sub(r"['\u2019 \u00a0]", "", found[0])
    decimal = re.search(r"[.,](\d{1,2})$", digits)
    whole = re.sub(r"[.,]", "", digits[: decimal.start()] if decimal else digits)
    return float(f"{whole}.{decimal[1]}" if decimal else whole)
