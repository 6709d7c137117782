"""Forms of search queries that products are found by, from the name of a category to a whole description."""

from collections.abc import Sequence
from dataclasses import dataclass

from fclip.audits.attributes import value
from fclip.audits.data import Attributes
from fclip.evaluation.catalog import CatalogProduct

FORMS = {
    "category": "one word or name: the category",
    "colour_category": "two words: colour and category",
    "attributes": "all attributes",
    "title": "title",
    "full": "title and description",
}
TITLE, DESCRIPTION = "title", "highlights"
"""Kinds of captions."""


@dataclass(frozen=True)
class Form:
    """One form of query.

    Attributes:
        texts: the query of each of n products; None if it has none.
        keys: what a product must share to be as right as the product itself: the values that the query names, or its
            own text.
        in_category: whether only products of the same category are compared.
    """

    name: str
    texts: tuple[str | None, ...]
    keys: tuple[str | None, ...]
    in_category: bool


def query_forms(
    products: Sequence[CatalogProduct], names: Attributes, num_classes: int, reasons: list[str]
) -> list[Form]:
    """The forms that the catalog allows; a sentence for each other one is added to `reasons`."""
    forms = []
    if num_classes > 1:
        forms.append(_attribute_form("category", products, (names.category,), in_category=False))
    else:
        some = "has one category" if num_classes else "has no category"
        reasons.append(
            f"Queries of the category alone: the catalog {some}, so there is nothing to tell apart; products were "
            "compared with all others. Name the attribute `audit.attributes.category` if there is one."
        )
    if names.colour and names.category:
        forms.append(_attribute_form("colour_category", products, (names.colour, names.category), in_category=True))
    else:
        reasons.append(
            "Two-word queries: the catalog has no colour or no category; add the attributes, or name them in "
            "`audit.attributes`."
        )
    more = [name for name in (names.gender, names.colour, names.pattern, names.category) if name]
    if len(more) > 2:
        forms.append(_attribute_form("attributes", products, more, in_category=True))
    else:
        reasons.append(
            "Queries of all attributes: the catalog has no gender and no pattern beside colour and category; add them, "
            "or name them in `audit.attributes`."
        )
    titles = [product.captions.get(TITLE) for product in products]
    long = [
        f"{title}, {product.captions[DESCRIPTION]}" if title and product.captions.get(DESCRIPTION) else None
        for title, product in zip(titles, products, strict=True)
    ]
    for name, texts, what in (("title", titles, "a title"), ("full", long, "a title and a description")):
        if any(texts):
            keys = tuple(title.casefold() if title else None for title in titles)
            forms.append(Form(name, tuple(text or None for text in texts), keys, in_category=True))
        else:
            kind = TITLE if name == "title" else DESCRIPTION
            reasons.append(
                f"Queries of {what}: no product has such a caption; add a template `{kind}` in `caption.datasets`."
            )
    return forms


def _attribute_form(
    name: str, products: Sequence[CatalogProduct], attributes: Sequence[str | None], *, in_category: bool
) -> Form:
    """The form that names all of `attributes`; products that lack one have no query."""
    values = [tuple(value(product, attribute) for attribute in attributes) for product in products]
    complete = [None if None in own else tuple(each for each in own if each) for own in values]
    texts = tuple(None if own is None else " ".join(own) for own in complete)
    keys = tuple(None if own is None else "\0".join(own) for own in complete)
    return Form(name, texts, keys, in_category)
