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


@pytest.mark.parametrize("broken", ["images", "texts"])
def test_features_that_are_not_finite_are_lost(shop: Shop, copies: Copies, broken: str) -> None:
    """The number is of the same quantity as that of a sound model, so that the gate compares them."""
    plan = planned("background", audit_data(shop.products, copies.derived))
    sound = shop.model.features(plan)
    findings = plan.measure(replace(sound, **{broken: np.full_like(getattr(sound, broken), np.nan)}), None)
    assert failed("background", findings)
    assert findings.headline is not None
    assert (findings.headline.value, findings.headline.low) == (1, 1)
    assert "not finite count as lost" in findings.summary
    healthy = plan.measure(sound, None)
    assert healthy.headline is not None
    assert findings.headline.name == healthy.headline.name == "lost_category_white_scene"
    assert "not finite" not in healthy.summary


def test_partly_finite_features_against_a_loop_over_the_products(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, copies.derived))
    sound = shop.model.features(plan)
    images = sound.images.copy()
    images[[digest.endswith(("white", "scene")) and digest[0] < "8" for digest in plan.images]] = np.nan
    findings = plan.measure(replace(sound, images=images), None)
    before = after = 0
    texts = [PROMPT.format(name) for name in plan.class_names]  # type: ignore[attr-defined]
    features = dict(zip([*plan.images, *plan.texts], [*images, *sound.texts], strict=True))
    for product in shop.products:
        for shift in ("white", "scene"):
            own = features[f"{product.image} {shift}"]
            nearest = max(texts, key=lambda text: own @ features[text] / np.linalg.norm(features[text]))
            right = nearest == PROMPT.format(product.attributes["article_type"])
            before += shift == "white" and bool(right or np.isnan(own).any())
            after += shift == "scene" and bool(right and not np.isnan(own).any())
    assert findings.headline is not None
    assert findings.headline.value == pytest.approx(1 - after / before)


def test_the_most_frequent_category_for_every_picture_is_chance(shop: Shop, copies: Copies) -> None:
    products = [
        replace(product, attributes={"article_type": "hat" if number % 10 else "bag"})
        for number, product in enumerate(shop.products)
    ]
    plan = planned("background", audit_data(products, copies.derived))
    texts = np.array([[1.0, 0.0] if text.endswith("hat") else [0.0, 1.0] for text in plan.texts], np.float32)
    findings = plan.measure(PlanFeatures(np.full((len(plan.images), 2), [1, 0], np.float32), texts), None)
    assert {each.name: each.value for each in findings.measures}["category_original"] == 0.9
    assert findings.headline is None
    assert any("not better than chance (90 %)" in sentence for sentence in findings.not_measured)


def test_zeros_are_not_passed(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, copies.derived))
    findings = plan.measure(constant_features(plan, 0.0), None)
    assert findings.headline is None
    assert any("not better than chance" in sentence for sentence in findings.not_measured)


def test_few_categories_are_named_and_titles_are_used(shop: Shop, copies: Copies) -> None:
    products = [
        replace(product, attributes=product.attributes if number < 20 else {})
        for number, product in enumerate(shop.products)
    ]
    plan = planned("background", audit_data(products, copies.derived))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.headline.name == "lost_title_white_scene"
    assert "by their title" in findings.summary
    assert any("20 products with copies have a category" in sentence for sentence in findings.not_measured)


def test_the_chance_of_a_title_is_among_the_titles(shop: Shop, copies: Copies) -> None:
    """Of 40 titled products, a random picture is among the first 10 in a quarter of the cases."""
    products = [
        replace(product, attributes={}, captions=product.captions if number < 40 else {})
        for number, product in enumerate(shop.products)
    ]
    plan = planned("background", audit_data(products, copies.derived))
    findings = plan.measure(constant_features(plan, 0.0), None)
    assert any("not better than chance (25 %)" in sentence for sentence in findings.not_measured)


def test_camera_alone_is_measured_and_the_missing_copies_are_named(shop: Shop, copies: Copies) -> None:
    plan = planned("background", audit_data(shop.products, {"camera": copies.derived["camera"]}))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert "camera" in findings.headline.label
    assert sum("add a derived dataset" in sentence for sentence in findings.not_measured) == 2


def test_without_scenes_and_camera_it_is_not_measurable(shop: Shop, copies: Copies) -> None:
    white = BACKGROUND.plan(audit_data(shop.products, {"white": copies.derived["white"], "scene": ()}))
    assert isinstance(white, NotMeasurable)
    assert white.reason.count("add a derived dataset") == 1  # the dataset of scenes is there, without products
    answer = BACKGROUND.plan(audit_data(shop.products))
    assert isinstance(answer, NotMeasurable)
    assert answer.reason.count("add a derived dataset") == 3
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
