"""The audit of gender words, with a text projection that has a strong gender direction."""

from dataclasses import replace

import numpy as np
import pytest

from fclip.audits.attributes import gender_of
from fclip.audits.data import PlanFeatures
from fclip.audits.kinds.gender import GENDER
from fclip.audits.registry import AuditPlan, NotMeasurable
from tests.fclip.audits.conftest import DIM, Shop, audit_data, constant_features, failed, planned


def unisex_shop(shop: Shop) -> list:
    """Half of the products for everyone, in six categories, so that the few products are enough."""
    names = ("t-shirt", "shirt", "sweater", "jeans", "sneakers", "handbag")
    return [
        replace(
            product,
            attributes={
                **product.attributes,
                "article_type": names[number % len(names)],
                "gender": ("unisex", "Men", "unisex", "Women")[number % 4],
            },
        )
        for number, product in enumerate(shop.products[:120])
    ]


def without_unisex(shop: Shop) -> list:
    return [
        replace(product, attributes={**product.attributes, "gender": ("Men", "Women")[number // 6 % 2]})
        for number, product in enumerate(unisex_shop(shop))
    ]


def gendered(shop: Shop, plan: AuditPlan, strength: float = 1.0) -> PlanFeatures:
    """fclip-tiny with a projection that stretches one direction, on which texts with gender words lie apart."""
    sound = shop.model.features(plan)
    random = np.random.default_rng(0)
    direction = random.normal(size=sound.texts.shape[1]).astype(np.float32)
    direction /= np.linalg.norm(direction)
    women = np.array([_sign(text) for text in plan.texts], np.float32)
    looks = random.choice([-0.5, 0.5], size=len(plan.images)).astype(np.float32)  # what it takes for men's and women's
    return PlanFeatures(
        sound.images + strength * looks[:, None] * direction, sound.texts + strength * women[:, None] * direction
    )


def _sign(text: str) -> float:
    words = text.lower().replace("'", " ").split()
    if {"women", "woman", "female", "girls", "girl"} & set(words):
        return 1.0
    return -1.0 if {"men", "man", "male", "boys", "boy"} & set(words) else 0.0


def test_sound_model_passes_with_room(shop: Shop) -> None:
    plan = planned("gender", audit_data(unisex_shop(shop)))
    findings = plan.measure(shop.model.features(plan), None)
    assert findings.headline is not None
    assert findings.headline.high < GENDER.limit
    names = {measure.name for measure in findings.measures}
    assert {"shift_men", "shift_women", "shift_control", "title_shift", "rewordings"} <= names
    assert {"association_categories", "association_colours", "probability_categories"} <= names
    assert "shift_boys" not in names  # the shop sells nothing for children


def test_gendered_projection_fails(shop: Shop) -> None:
    plan = planned("gender", audit_data(unisex_shop(shop)))
    assert failed("gender", plan.measure(gendered(shop, plan), None))


def test_association_with_categories_is_found_and_not_invented(shop: Shop) -> None:
    """Without unisex products, categories that the model takes for women's or for men's show in the headline."""
    products = without_unisex(shop)
    plan = planned("gender", audit_data(products))
    assert any("0 unisex products" in sentence and "Label products" in sentence for sentence in plan.not_measured)
    sound, random = shop.model.features(plan), np.random.default_rng(0)
    direction = random.normal(size=sound.texts.shape[1]).astype(np.float32)
    texts = np.outer([_sign(text) for text in plan.texts], direction).astype(np.float32)
    row_of = {digest: row for row, digest in enumerate(plan.images)}
    noise = random.normal(size=len(plan.images))
    by_category, by_chance = noise * 0.1, noise
    for product in products:
        feminine = product.attributes["article_type"] in ("shirt", "jeans", "handbag")
        by_category[row_of[product.image]] += 1.0 if feminine else -1.0
    measured = []
    for looks in (by_category, by_chance):
        findings = plan.measure(PlanFeatures(np.outer(looks, direction).astype(np.float32), texts), None)
        assert findings.headline is not None
        chance = next(each for each in findings.measures if each.name == "probability_categories")
        measured.append((findings, chance.value))
    assert measured[0][0].headline.low > 0.1
    assert measured[0][1] < 0.01
    assert measured[1][0].headline.low < 0.05
    assert measured[1][1] > 0.02
    assert not any(findings.has_limit for findings, _ in measured)  # the limit is for shifts


def test_near_duplicates_are_no_further_evidence_of_an_association(shop: Shop) -> None:
    products = without_unisex(shop)
    twins = [
        replace(product, product_id=f"{product.product_id}-{copy}", group_id=product.group_id)
        for product in products
        for copy in "abcdef"
    ]
    measured = []
    for own in (products, twins):
        plan = planned("gender", audit_data(own))
        random = np.random.default_rng(1)
        images, texts = (random.normal(size=(len(each), DIM)).astype(np.float32) for each in (plan.images, plan.texts))
        findings = plan.measure(PlanFeatures(images, texts), None)
        measured.append((findings.headline, findings.measures))
    assert measured[0] == measured[1]


def test_equal_scores_are_not_an_association_in_the_order_of_the_products(shop: Shop) -> None:
    plan = planned("gender", audit_data(sorted(without_unisex(shop), key=lambda each: each.attributes["article_type"])))
    findings = plan.measure(constant_features(plan, 1.0), None)
    assert findings.headline is not None
    assert findings.headline.value == 0
    chance = next(each for each in findings.measures if each.name == "probability_categories")
    assert chance.value == 1


@pytest.mark.parametrize("unisex", [True, False])
def test_nan_features_fail(shop: Shop, unisex: bool) -> None:
    products = unisex_shop(shop)
    if not unisex:
        products = [
            replace(each, attributes={**each.attributes, "gender": "Men" if row % 2 else "Women"})
            for row, each in enumerate(products)
        ]
    plan = planned("gender", audit_data(products))
    findings = plan.measure(constant_features(plan), None)
    assert failed("gender", findings)
    assert findings.has_limit == unisex


def test_labels_are_understood_or_named(shop: Shop) -> None:
    understood = {
        "Men": "men", "women's": "women", "FEMALE": "women", "Boys": "boys", "girl": "girls", "Unisex": "unisex",
        "men, women": "unisex", "Boys & Girls": "kids", "Damen": "women", "Niños": "boys", "UNISEX ADULT": "unisex",
    }  # fmt: skip
    assert {label: gender_of(label) for label in understood} == understood
    assert gender_of("Size 42") is None
    products = unisex_shop(shop)
    odd = {**products[0].attributes, "gender": "Vintage"}
    plan = planned("gender", audit_data([replace(products[0], attributes=odd), *products[1:]]))
    assert any("“Vintage” (1)" in sentence for sentence in plan.not_measured)


def test_without_genders_it_is_not_measurable(shop: Shop) -> None:
    for attributes in ({"article_type": "shirt"}, {"article_type": "shirt", "gender": "Vintage"}):
        answer = GENDER.plan(audit_data([replace(product, attributes=attributes) for product in shop.products]))
        assert isinstance(answer, NotMeasurable)
        assert "audit.attributes.gender" in answer.reason
    assert "Vintage" in answer.reason


def test_fifty_products_of_one_category_or_none_are_measured_or_named(shop: Shop) -> None:
    products = unisex_shop(shop)[:50]
    one = [replace(each, attributes={**each.attributes, "article_type": "hat"}) for each in products]
    none = [replace(each, attributes={"gender": each.attributes["gender"]}, captions={}) for each in products]
    for own in (one, none):
        plan = planned("gender", audit_data(own))
        findings = plan.measure(shop.model.features(plan), None)
        assert findings.headline is not None
    assert any("audit.attributes.category" in sentence for sentence in findings.not_measured)
