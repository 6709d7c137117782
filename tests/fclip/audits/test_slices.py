"""The audit of the worst slice, with a model that fails one brand."""

from dataclasses import replace

import numpy as np
import pytest

from fclip.audits.attributes import price_of
from fclip.audits.data import PlanFeatures
from fclip.audits.kinds.slices import SLICES
from fclip.audits.registry import AuditPlan, NotMeasurable
from fclip.evaluation.catalog import CatalogProduct
from tests.fclip.audits.conftest import DIM, audit_data, constant_features, failed, planned

CATEGORIES = ("shirt", "jeans", "hat", "bag")
BRANDS = ("Ostra", "Solano", "Velorra", "Kestrel", "Tidewell")


def products(number: int = 400, **changes: str) -> list[CatalogProduct]:
    """Products with a brand, a price and a date; `changes` replaces attributes, "" removes one."""
    result = []
    for row in range(number):
        attributes = {
            "category": CATEGORIES[row % len(CATEGORIES)],
            "brand": BRANDS[row // 4 % len(BRANDS)],
            "price": f"€ {10 + row % 37},99",
            "date": f"2026-{1 + row % 12:02}-{1 + row % 28:02}",
            **changes,
        }
        named = {name: value for name, value in attributes.items() if value}
        result.append(CatalogProduct(f"p{row:04}", "test", f"g{row}", f"image {row}", named, {}))
    return result


def model(
    plan: AuditPlan, own: list[CatalogProduct], *, noise: float, seed: int, broken_brand: str = ""
) -> PlanFeatures:
    """Features with the direction of the category and noise; of a broken brand noise alone."""
    random = np.random.default_rng(seed)
    directions = dict(zip(CATEGORIES, np.eye(len(CATEGORIES), DIM), strict=True))
    texts = np.array([directions[text.split()[-1]] for text in plan.texts])
    known = np.array([directions[product.attributes["category"]] for product in own])
    known[[product.attributes.get("brand") == broken_brand for product in own]] = 0
    images = known + noise * random.normal(size=known.shape)
    return PlanFeatures(images.astype(np.float32), texts.astype(np.float32))


@pytest.mark.parametrize("seed", range(1, 6))
def test_model_as_good_as_the_base_passes(seed: int) -> None:
    """Many slices of a model that is as good but different: the largest of their drops is chance."""
    own = products()
    plan = planned("slices", audit_data(own))
    base = model(plan, own, noise=0.4, seed=0)
    findings = plan.measure(model(plan, own, noise=0.4, seed=seed), base)
    assert not failed("slices", findings)
    assert findings.headline is not None
    assert findings.headline.low <= 0.05
    assert {"all", "worst"} <= {measure.name for measure in findings.measures}


def test_model_that_fails_one_brand_fails() -> None:
    own = products()
    plan = planned("slices", audit_data(own))
    base = model(plan, own, noise=0.3, seed=0)
    findings = plan.measure(model(plan, own, noise=0.3, seed=1, broken_brand="Solano"), base)
    assert failed("slices", findings)
    worst = next(measure for measure in findings.measures if measure.name == "worst")
    assert worst.label == "brand: Solano"
    assert worst.high < 0.6
    assert "“brand: Solano” loses most" in findings.summary


def test_base_model_has_no_headline_but_its_worst_slice() -> None:
    own = products()
    plan = planned("slices", audit_data(own))
    findings = plan.measure(model(plan, own, noise=0.3, seed=0, broken_brand="Ostra"), None)
    assert findings.headline is None
    assert any("this is the base model" in sentence for sentence in findings.not_measured)
    assert "brand: Ostra" in findings.summary


def test_slices_are_brands_categories_price_bands_and_new_arrivals() -> None:
    plan = planned("slices", audit_data(products()))
    names = {own.name for own in plan.slices}  # type: ignore[attr-defined]
    assert {"brand: Ostra", "category: hat", "price: low price", "price: high price", "arrival: new"} <= names
    assert not plan.not_measured  # type: ignore[attr-defined]


def test_prices_are_read_in_several_notations() -> None:
    prices = {"19.99": 19.99, "1.299,00 €": 1299.0, "$1,299": 1299.0, "CHF 1'299.50": 1299.5, "5": 5.0, "12,5": 12.5}
    assert {text: price_of(text) for text in prices} == prices
    assert price_of("from 5 to 9") is None
    assert price_of("on request") is None


def test_nan_features_of_the_model_fail_and_of_the_base_do_not() -> None:
    own = products()
    plan = planned("slices", audit_data(own))
    sound = model(plan, own, noise=0.3, seed=0)
    assert failed("slices", plan.measure(constant_features(plan), sound))
    assert not failed("slices", plan.measure(sound, constant_features(plan)))


def test_missing_attributes_are_named() -> None:
    plan = planned("slices", audit_data(products(brand="", price="on request", date="")))
    told = " ".join(plan.not_measured)  # type: ignore[attr-defined]
    assert "Slices by brand: no attribute" in told
    assert "audit.attributes.brand" in told
    assert "Slices by price" in told
    assert "Slices by arrival" in told


def test_one_category_or_few_products_are_not_measurable() -> None:
    one = SLICES.plan(audit_data(products(category="hat")))
    assert isinstance(one, NotMeasurable)
    assert "one category (“hat”)" in one.reason
    few = SLICES.plan(audit_data(products(50, price="", date="")))
    assert isinstance(few, NotMeasurable)
    assert "none has 30 products" in few.reason
    none = SLICES.plan(audit_data([replace(product, attributes={}) for product in products()]))
    assert isinstance(none, NotMeasurable)
    assert "no category" in none.reason
