"""The audit of composition, with a text tower that ignores colours, and with one that prefers frequent words."""

from dataclasses import replace

import numpy as np
import pytest

from fclip.audits.data import PlanFeatures
from fclip.audits.kinds.composition import COMPOSITION
from fclip.audits.registry import NotMeasurable
from tests.fclip.audits.conftest import Shop, audit_data, constant_features, failed, planned


def test_sound_model_passes_with_room(shop: Shop) -> None:
    plan = planned("composition", audit_data(shop.products))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.headline.high < COMPOSITION.limit
    measures = {measure.name: measure for measure in findings.measures}
    assert {"colour_swapped", "category_swapped", "pattern_swapped", "pattern_control"} <= measures.keys()
    assert {"pair_paraphrase", "pair_parts", "pair_pictures"} <= measures.keys()
    assert measures["colour_swapped"].value > 0.8
    assert [sentence.partition(":")[0] for sentence in findings.not_measured] == ["Negation"]  # the shop is too small


def test_text_tower_that_sees_only_the_last_word_fails(shop: Shop) -> None:
    plan = planned("composition", audit_data(shop.products))
    findings = plan.measure(shop.model.features(plan, lambda text: text.split()[-1]), None)
    assert failed("composition", findings)
    measures = {measure.name: measure.value for measure in findings.measures}
    assert measures["colour_swapped"] == measures["pattern_swapped"] == 0.5  # equal texts are ties
    assert measures["category_swapped"] > 0.7


def test_preference_of_a_frequent_colour_does_not_count_as_understanding(shop: Shop) -> None:
    """Where most products are red, a model that always prefers red is mostly right, without seeing the picture."""
    products = [
        replace(product, attributes={**product.attributes, "colour": "red" if number % 5 else "blue"})
        for number, product in enumerate(shop.products)
    ]
    plan = planned("composition", audit_data(products))
    red = np.array([text.startswith("red") for text in plan.texts])
    texts = np.where(red[:, None], [1.0, 0.0], [0.6, 0.8]).astype(np.float32)
    findings = plan.measure(PlanFeatures(np.full((len(plan.images), 2), [1, 0.1], np.float32), texts), None)
    measures = {measure.name: measure.value for measure in findings.measures}
    assert measures["colour_swapped"] == measures["colour_control"] > 0.75
    assert failed("composition", findings)


def test_values_that_differ_only_in_case_are_one_value(shop: Shop) -> None:
    """A text is not compared with itself in other letters."""
    products = [
        replace(product, attributes={**product.attributes, "pattern": "Solid" if number % 2 else "solid"})
        for number, product in enumerate(shop.products)
    ]
    plan = planned("composition", audit_data(products))
    findings = plan.measure(shop.model.features(plan), None)
    assert "all products have the same pattern" in " ".join(findings.not_measured)
    assert "Negation: 0 queries exclude a pattern" in " ".join(findings.not_measured)
    swaps = plan.swaps  # type: ignore[attr-defined]
    assert set(swaps) == {"colour", "category"}
    assert all(swap.text.casefold() != swap.swapped.casefold() for own in swaps.values() for swap in own)


@pytest.mark.parametrize(("categories", "measured"), [(2, False), (3, True)])
def test_few_negations_are_no_measure(shop: Shop, categories: int, measured: bool) -> None:
    """Four colours in each category: two categories give 8 queries, and three give 12."""
    colours = ("red", "Red", "blue", "green", "grey")
    products = [
        replace(shop.products[number], attributes={
            "article_type": ("shirt", "hat", "bag")[number % categories], "colour": colours[number // categories % 5]
        })
        for number in range(120)
    ]  # fmt: skip
    plan = planned("composition", audit_data(products))
    findings = plan.measure(shop.model.features(plan), None)
    labels = {measure.name: measure.label for measure in findings.measures}
    assert ("negation_not" in labels) == ("After “not”" in findings.summary) == measured
    if measured:
        assert labels["negation_not"] == "such as “bag, not blue”"
        assert labels["negation_without"] == "such as “bag without blue”"
    else:
        assert "Negation: 8 queries exclude a colour" in " ".join(findings.not_measured)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_broken_features_fail(shop: Shop, value: float) -> None:
    plan = planned("composition", audit_data(shop.products))
    assert failed("composition", plan.measure(constant_features(plan, value), None))


def test_one_category_and_missing_attributes_are_named(shop: Shop) -> None:
    attributes = [{"article_type": "hat", "colour": each.attributes["colour"]} for each in shop.products]
    alike = [replace(each, attributes=own) for each, own in zip(shop.products, attributes, strict=True)]
    plan = planned("composition", audit_data(alike))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    told = " ".join(findings.not_measured)
    assert "all products have the same category" in told
    assert "audit.attributes.pattern" in told
    assert "Two-garment texts" in told


def test_without_attributes_it_is_not_measurable(shop: Shop) -> None:
    answer = COMPOSITION.plan(audit_data([replace(product, attributes={}) for product in shop.products]))
    assert isinstance(answer, NotMeasurable)
    assert all(f"audit.attributes.{meaning}" in answer.reason for meaning in ("colour", "category", "pattern"))


def test_fifty_products_are_measured_and_what_is_left_out_is_named(shop: Shop) -> None:
    plan = planned("composition", audit_data(shop.products[:50]))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert any("Two-garment texts" in sentence for sentence in findings.not_measured)
