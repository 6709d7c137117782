"""The attributes of a catalog by their meaning."""

import pytest

from fclip.audits.attributes import find_attributes, require_attributes
from fclip.audits.data import Attributes
from fclip.errors import UserError
from fclip.evaluation.catalog import CatalogProduct


def catalog(**attributes: str) -> list[CatalogProduct]:
    return [CatalogProduct("p", "test", "g", "image", attributes, {})]


def test_attributes_are_found_by_usual_names_in_several_spellings() -> None:
    products = catalog(
        **{"Produkttyp": "Hemd", "Base Color": "rot", "Muster": "gestreift", "sex": "Men", "Marke": "Ostra"},
        **{"Variant Price": "5", "Created at": "2026-01-01"},
    )
    assert find_attributes(products, {}, None) == Attributes(
        *("Produkttyp", "Base Color", "Muster", "sex", "Marke", "Variant Price", "Created at")
    )


def test_the_evaluated_label_is_the_category_and_the_setting_wins() -> None:
    products = catalog(category="Apparel", category3="Shirts", season="Summer")
    assert find_attributes(products, {}, "category3").category == "category3"
    assert find_attributes(products, {"category": "season"}, "category3").category == "season"
    assert find_attributes(products, {"category": None}, "category3").category is None
    assert find_attributes(products, {}, "label").category == "category"  # no product has the evaluated label


def test_an_unknown_attribute_names_the_key_and_the_attributes() -> None:
    products = catalog(category="shirt", tint="red")
    with pytest.raises(UserError, match=r"audit.attributes.colour: .* `shade`; the attributes are category, tint"):
        require_attributes(products, {"colour": "shade"})
    require_attributes([*products, *catalog(shade="dark")], {"colour": "shade", "brand": None})


def test_a_catalog_without_the_attribute_of_the_setting_uses_a_usual_name() -> None:
    assert find_attributes(catalog(colour="red"), {"colour": "shade"}, None).colour == "colour"
    assert find_attributes(catalog(category="hat"), {"category": "type"}, "category").category == "category"
