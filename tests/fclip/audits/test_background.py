"""The audit of background and framing, with models that see the border of a picture instead of the product."""

from dataclasses import replace

import numpy as np
import pytest

from fclip.audits.data import PlanFeatures
from fclip.audits.kinds.background import BACKGROUND, PROMPT
from fclip.audits.registry import AuditPlan, NotMeasurable
from tests.fclip.audits.conftest import Copies, Shop, audit_data, constant_features, failed, planned


def seeing_the_border(shop: Shop, plan: AuditPlan) -> PlanFeatures:
    """fclip-tiny, with image features that move away from the product as the border moves away from white."""
    sound = shop.model.features(plan)
    towards = np.random.default_rng(0).normal(size=(3, sound.images.shape[1])).astype(np.float32)
    border = np.array([np.asarray(shop.model.images[digest])[0].mean(axis=0) / 255 for digest in plan.images])
    return PlanFeatures(sound.images + ((1 - border) @ towards).astype(np.float32), sound.texts)


def test_sound_model_passes_with_room(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, copies.derived))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.headline.value < BACKGROUND.limit - 0.1
    assert not failed("background", findings)
    names = {measure.name for measure in findings.measures}
    assert {"category_original", "category_white_scene", "category_original_white", "title_original_camera"} <= names
    assert "in a scene" in findings.summary


def test_model_that_sees_the_border_fails(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, copies.derived))
    findings = plan.measure(seeing_the_border(shop, plan), None)
    assert failed("background", findings)


def test_model_that_knows_categories_by_their_background_fails(shop: Shop, copies: Copies) -> None:
    """A shop that photographs each category in front of a colour of its own; on white the model knows nothing."""
    plan = planned("background", audit_data(shop.products, copies.derived))
    categories = {product.image: product.attributes["article_type"] for product in shop.products}
    sound = shop.model.features(plan)
    of_text = dict(zip(plan.texts, sound.texts, strict=True))
    nothing = np.random.default_rng(0).normal(size=sound.images.shape).astype(np.float32)
    images = np.array([
        of_text[PROMPT.format(categories[digest])] if digest in categories else nothing[row]
        for row, digest in enumerate(plan.images)
    ])  # fmt: skip
    findings = plan.measure(PlanFeatures(images, sound.texts), None)
    assert failed("background", findings)
    assert any("depends on more than the product" in sentence for sentence in findings.not_measured)


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_broken_model_is_not_passed(shop: Shop, copies: Copies, value: float) -> None:
    plan = planned("background", audit_data(shop.products, copies.derived))
    findings = plan.measure(constant_features(plan, value), None)
    assert findings.headline is None
    assert any("not better than chance" in sentence for sentence in findings.not_measured)


def test_camera_alone_is_measured_and_the_missing_copies_are_named(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, {"camera": copies.derived["camera"]}))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert "camera" in findings.headline.label
    assert sum("add a derived dataset" in sentence for sentence in findings.not_measured) == 2


def test_without_copies_it_is_not_measurable(shop: Shop) -> None:
    answer = BACKGROUND.plan(audit_data(shop.products))
    assert isinstance(answer, NotMeasurable)
    assert "derived dataset" in answer.reason
    assert "white or plain grounds" in answer.reason


def test_one_category_uses_titles(shop: Shop, copies: Copies) -> None:
    attributes = {"article_type": "t-shirt"}
    alike = [replace(product, attributes=attributes) for product in shop.products]
    plan = planned("background", audit_data(alike, copies.derived))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert "by their title" in findings.summary
    assert any("fewer than two categories" in sentence for sentence in findings.not_measured)
    bare = [replace(product, captions={}) for product in alike]
    assert isinstance(BACKGROUND.plan(audit_data(bare, copies.derived)), NotMeasurable)


def test_fifty_products_with_few_copies_are_named(shop: Shop, copies: Copies) -> None:
    few = {shift: own[:20] for shift, own in copies.derived.items()}
    answer = BACKGROUND.plan(audit_data(shop.products[:50], few))
    assert isinstance(answer, NotMeasurable)
    assert "20 of 50 products" in answer.reason
