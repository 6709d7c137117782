"""The audit of forgetting, with a model that gains on the catalog's pictures and loses on others."""

from dataclasses import replace

import numpy as np

from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.kinds.forgetting import FORGETTING
from fclip.audits.registry import AuditPlan, NotMeasurable
from fclip.evaluation.catalog import CatalogProduct
from tests.fclip.audits.conftest import DIM, audit_data, constant_features, failed, planned

CATEGORIES = ("shirt", "jeans", "hat", "bag")


def data(number: int = 300, *, derived: bool = True, title: str = "number {}", **attributes: str) -> AuditData:
    products = [
        CatalogProduct(
            *(f"p{row:04}", "test", f"g{row}", f"original {row}"),
            {"category": CATEGORIES[row % len(CATEGORIES)], **attributes},
            {"title": title.format(row)} if title else {},
        )
        for row in range(number)
    ]
    shifts = ("scene", "camera") if derived else ()
    return audit_data(
        products, {shift: [replace(each, image=f"{shift} {each.image[9:]}") for each in products] for shift in shifts}
    )


def model(plan: AuditPlan, *, seed: int, noise: dict[str, float], forgotten: str = "") -> PlanFeatures:
    """Features with directions of the category and of the title, and noise by kind of picture.

    Args:
        forgotten: a category whose pictures look like another's.
    """
    random, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    own = fixed.normal(size=(1000, DIM)) / np.sqrt(DIM)
    directions = dict(zip(CATEGORIES, 2 * np.eye(len(CATEGORIES), DIM), strict=True))
    texts = []
    for text in plan.texts:
        last = text.split()[-1]
        row = int(last) if last.isdigit() else -1
        texts.append(directions[last] if row < 0 else directions[CATEGORIES[row % 4]] + own[row])
    images = []
    for digest in plan.images:
        shift, row = digest.split()[0], int(digest.split()[1])
        category = CATEGORIES[row % 4]
        seen = CATEGORIES[(row + 1) % 4] if category == forgotten else category
        images.append(directions[seen] + own[row] + noise.get(shift, noise["original"]) * random.normal(size=DIM))
    return PlanFeatures(np.array(images, np.float32), np.array(texts, np.float32))


BASE = {"original": 1.0, "scene": 1.0, "camera": 1.0}


def test_model_as_good_as_the_base_passes() -> None:
    plan = planned("forgetting", data())
    base = model(plan, seed=1, noise=BASE)
    findings = plan.measure(model(plan, seed=2, noise=BASE), base)
    assert findings.headline is not None
    assert findings.headline.value < 0.1
    assert not failed("forgetting", findings)
    names = {measure.name for measure in findings.measures}
    assert {"net_category_original", "gross_category_camera", "net_title_scene"} <= names


def test_gains_on_the_catalog_do_not_hide_losses_on_other_pictures() -> None:
    plan = planned("forgetting", data())
    base = model(plan, seed=1, noise=BASE)
    findings = plan.measure(model(plan, seed=2, noise={"original": 0.2, "scene": 1.0, "camera": 4.0}), base)
    assert failed("forgetting", findings)
    assert "pictures by a poor camera" in findings.summary
    measures = {measure.name: measure.value for measure in findings.measures}
    assert measures["net_title_original"] == 0 < measures["net_category_camera"]


def test_a_forgotten_category_is_the_example() -> None:
    plan = planned("forgetting", data())
    base = model(plan, seed=1, noise=BASE)
    findings = plan.measure(model(plan, seed=2, noise=BASE, forgotten="hat"), base)
    examples = [measure for measure in findings.measures if measure.name.startswith("category_")]
    assert examples[0].label == "hat"
    assert examples[0].low > 0.5
    assert "hat" in findings.summary


def test_base_model_has_nothing_to_forget() -> None:
    plan = planned("forgetting", data())
    findings = plan.measure(model(plan, seed=1, noise=BASE), None)
    assert findings.headline is None
    assert any("this is the base model" in sentence for sentence in findings.not_measured)


def test_nan_features_of_the_model_fail_and_of_the_base_leave_nothing_to_measure() -> None:
    plan = planned("forgetting", data())
    sound = model(plan, seed=1, noise=BASE)
    assert failed("forgetting", plan.measure(constant_features(plan), sound))
    broken = plan.measure(sound, constant_features(plan))
    assert broken.headline is None
    assert any("0 products right" in sentence for sentence in broken.not_measured)


def test_what_is_missing_is_named() -> None:
    without_copies = planned("forgetting", data(derived=False))
    told = " ".join(without_copies.not_measured)  # type: ignore[attr-defined]
    assert "shift: {kind: camera}" in told
    assert "shift: {kind: scene}" in told
    nothing_made = planned("forgetting", replace(data(), derived={"scene": (), "camera": data().derived["camera"]}))
    told = " ".join(nothing_made.not_measured)  # type: ignore[attr-defined]
    assert "has no copy of these products" in told
    assert "add a derived dataset" not in told
    one = planned("forgetting", data(category="hat"))
    assert any("audit.attributes.category" in each for each in one.not_measured)  # type: ignore[attr-defined]
    untitled = planned("forgetting", data(title=""))
    assert any("template `title`" in each for each in untitled.not_measured)  # type: ignore[attr-defined]
    nothing = FORGETTING.plan(data(title="", category="hat"))
    assert isinstance(nothing, NotMeasurable)


def test_fifty_products_are_measured_or_named() -> None:
    plan = planned("forgetting", data(50))
    base = model(plan, seed=1, noise=BASE)
    findings = plan.measure(model(plan, seed=2, noise=BASE), base)
    assert findings.headline is not None or findings.not_measured
