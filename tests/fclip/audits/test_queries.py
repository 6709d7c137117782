"""The audit of long and short queries, with a text tower that sees only the last word of a query."""

from dataclasses import replace

import numpy as np
import pytest

from fclip.audits.data import PlanFeatures
from fclip.audits.kinds.queries import QUERIES
from fclip.audits.registry import NotMeasurable
from tests.fclip.audits.conftest import DIM, Shop, audit_data, constant_features, failed, planned


def test_sound_model_passes_with_room(shop: Shop) -> None:
    plan = planned("queries", audit_data(shop.products))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.headline.high < QUERIES.limit
    measures = {measure.name: measure for measure in findings.measures}
    assert {"category", "colour_category", "attributes", "title", "full", "words_2", "slope"} <= measures.keys()
    assert {"first_right", "prompt_bare", "prompt_photo", "prompt_long"} <= measures.keys()
    assert measures["colour_category"].value > 0.75
    assert not findings.not_measured
    assert "Two-word queries" in findings.summary


def test_text_tower_that_sees_only_the_last_word_fails(shop: Shop) -> None:
    plan = planned("queries", audit_data(shop.products))
    findings = plan.measure(shop.model.features(plan, lambda text: text.split()[-1]), None)
    assert failed("queries", findings)
    measures = {measure.name: measure for measure in findings.measures}
    assert measures["colour_category"].low <= 0.5 <= measures["colour_category"].high  # the colour is ignored
    assert measures["category"].value > 0.7  # while the category, which comes last, is not


def test_the_worst_of_equal_forms_is_not_taken_for_a_finding(shop: Shop) -> None:
    """Random features: half of the orders are wrong by every form, and one form is the worst by chance."""
    plan = planned("queries", audit_data(shop.products))
    missed = 0
    for seed in range(10):
        random = np.random.default_rng(seed)
        images, texts = (random.normal(size=(len(own), DIM)).astype(np.float32) for own in (plan.images, plan.texts))
        findings = plan.measure(PlanFeatures(images, texts), None)
        assert findings.headline is not None
        missed += not findings.headline.low <= 0.5 <= findings.headline.high
        forms = {measure.value: measure.num_items for measure in findings.measures[:5]}
        assert findings.headline.value == pytest.approx(1 - min(forms))
        assert findings.headline.num_items == forms[min(forms)]
    assert missed <= 2


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_broken_features_fail(shop: Shop, value: float) -> None:
    plan = planned("queries", audit_data(shop.products))
    assert failed("queries", plan.measure(constant_features(plan, value), None))


def test_products_with_the_same_values_are_all_right(shop: Shop) -> None:
    """A perfect text of an attribute query is not wrong because it finds another product with the same attributes."""
    twins = [
        replace(product, product_id=f"{product.product_id}-{copy}", group_id=f"{product.group_id}-{copy}")
        for product in shop.products[:100]
        for copy in "ab"
    ]
    plain, doubled = planned("queries", audit_data(shop.products[:100])), planned("queries", audit_data(twins))
    one, two = (plan.measure(shop.model.features(plan), None) for plan in (plain, doubled))
    assert one.headline is not None
    assert two.headline is not None
    assert one.headline.value == pytest.approx(two.headline.value, abs=1e-9)


def test_one_category_leaves_out_the_queries_of_the_category_alone(shop: Shop) -> None:
    data = audit_data([product for product in shop.products if product.attributes["article_type"] == "t-shirt"] * 4)
    plan = planned("queries", data)
    findings = plan.measure(shop.model.features(plan), None)
    assert any(
        "one category" in sentence and "audit.attributes.category" in sentence for sentence in findings.not_measured
    )
    assert "category" not in {measure.name for measure in findings.measures}


def test_missing_captions_and_attributes_are_named(shop: Shop) -> None:
    data = audit_data([replace(product, captions={}) for product in shop.products])
    assert any("no product has such a caption" in sentence for sentence in planned("queries", data).not_measured)
    bare = audit_data([replace(product, attributes={}) for product in shop.products])
    plan = planned("queries", bare)
    assert sum("audit.attributes" in sentence for sentence in plan.not_measured) == 3
    assert plan.measure(shop.model.features(plan), None).headline is not None  # titles can be measured


def test_nothing_to_search_for_is_not_measurable(shop: Shop) -> None:
    empty = audit_data([replace(product, captions={}, attributes={}) for product in shop.products])
    few = audit_data(shop.products[:10])
    for data in (empty, few):
        answer = QUERIES.plan(data)
        assert isinstance(answer, NotMeasurable)
        assert "title" in answer.reason


def test_fifty_products_are_measured_or_named(shop: Shop) -> None:
    plan = planned("queries", audit_data(shop.products[:50]))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.not_measured or len(findings.measures) > 5
