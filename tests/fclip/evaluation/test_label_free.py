"""Label-free metrics against a naive reference; reports never call their changes gains or losses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fclip.config import parse_config
from fclip.errors import UserError
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import Catalog, DatasetFiles, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.outcomes import MeanOutcome
from fclip.evaluation.protocols.label_free import LABEL_FREE, LabelFreeConfig, label_free
from fclip.evaluation.run import RunOptions, evaluate_models
from fclip.report.comparison import build_comparison, write_comparison_page
from tests.fclip.evaluation.test_protocols import product, random_features
from tests.tiny_shop import make_shop, tiny_clip

CONFIG = LabelFreeConfig(kind="label-free", classes=["bag", "hat", "shoe"], templates=["a {}", "{}, {}"])
PARAMS: dict[str, Any] = {
    "primary": "classification.acc1",
    "max_items": None,
    "slices": [],
    "protocols": {
        "classification": {
            "kind": "zero-shot", "label": "colour", "templates": ["{}"], "wordings": {}, "pool": "mean",
        },
        "unlabelled": {"kind": "label-free", "classes": ["bag", "hat", "shoe"], "templates": ["a photo of a {}"]},
    },
}  # fmt: skip


def shop(num_products: int) -> Catalog:
    return Catalog("shop", tuple(product(number) for number in range(num_products)))


def scored(images: np.ndarray, texts: np.ndarray) -> MeanOutcome:
    """Return the outcome for image features and the features of the six prompts of `CONFIG`."""
    outcome = label_free(CONFIG, shop(len(images)), "test", None).score(images, texts)[""].outcome
    assert isinstance(outcome, MeanOutcome)
    return outcome


def naive_metrics(images: np.ndarray, texts: np.ndarray) -> dict[str, list[float]]:
    """Compute the metrics for one image and one pair at a time, for finite features only."""

    def direction(vector: np.ndarray) -> np.ndarray:
        return vector / np.sqrt((vector**2).sum())

    x = [direction(image.astype(np.float64)) for image in images]
    t = [direction(text.astype(np.float64)) for text in texts]
    classes = [direction(t[2 * number] + t[2 * number + 1]) for number in range(3)]
    cosines = [[float(image @ point) for point in classes] for image in x]
    spread = np.std([cosine for row in cosines for cosine in row])
    margin, alignment, uniformity = [], [], []
    for number, image in enumerate(x):
        *_, second, first = sorted(cosines[number])
        margin.append((first - second) / spread)
        alignment.append(min(float(((image - point) ** 2).sum()) for point in classes))
        others = [np.exp(-2 * ((image - y) ** 2).sum()) for other, y in enumerate(x) if other != number]
        uniformity.append(float(np.mean(others)))
    return {"margin": margin, "alignment": alignment, "uniformity": uniformity}


@given(seed=st.integers(0, 10**6), num_images=st.integers(2, 40), block=st.sampled_from([1, 50, 8_000_000]))
@settings(max_examples=40, deadline=None)
def test_metrics_equal_the_naive_reference(seed: int, num_images: int, block: int) -> None:
    images, texts = random_features((num_images, 8), seed) * 7, random_features((6, 8), seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fclip.features.similarity.BLOCK_VALUES", block)
        values = scored(images, texts).values
    assert tuple(values) == LABEL_FREE
    for metric, expected in naive_metrics(images, texts).items():
        assert values[metric] == pytest.approx(expected, rel=1e-4, abs=1e-5), metric


def test_margin_is_in_units_of_the_spread_of_similarities() -> None:
    """Similarities that are closer to each other by one factor give the same margins."""
    images, texts = random_features((30, 8)), random_features((6, 8), 1)
    texts[1::2] = texts[::2]  # both templates have the same features
    common = np.zeros((30, 9), "f4"), np.zeros((6, 9), "f4")
    for wide, features in zip(common, (images, texts), strict=True):
        wide[:, :8] = features / np.linalg.norm(features, axis=1, keepdims=True)
        wide[:, 8] = 3
    assert scored(*common).values["margin"] == pytest.approx(scored(images, texts).values["margin"], rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.filterwarnings("error")
def test_invalid_image_gets_the_worst_values_and_leaves_other_margins(bad: float) -> None:
    images, texts = random_features((12, 8)), random_features((6, 8), 1)
    whole = scored(images[:9], texts)
    images[9:] = bad
    actual = scored(images, texts)
    for metric, worst in (("margin", 0), ("alignment", 4), ("uniformity", 1)):
        assert actual.values[metric][9:].tolist() == [worst] * 3
    for metric in ("margin", "alignment"):
        assert actual.values[metric][:9] == pytest.approx(whole.values[metric])
    assert actual.values["uniformity"][:9] == pytest.approx((8 * whole.values["uniformity"] + 3) / 11)
    assert not actual.correct[9:].any()
    nothing = scored(np.full_like(images, bad), texts)
    assert {metric: set(values) for metric, values in nothing.values.items()} == {
        "margin": {0.0},
        "alignment": {4.0},
        "uniformity": {1.0},
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_invalid_class_does_not_change_uniformity(bad: float) -> None:
    images, texts = random_features((12, 8)), random_features((6, 8), 1)
    expected = scored(images, texts).values["uniformity"].copy()
    texts[3, 2] = bad
    actual = scored(images, texts).values
    assert (set(actual["margin"]), set(actual["alignment"])) == ({0.0}, {4.0})
    assert actual["uniformity"].tolist() == expected.tolist()


def test_constant_embeddings_have_no_margin() -> None:
    actual = scored(
        np.repeat(random_features((1, 64)), 5, axis=0), np.repeat(random_features((1, 64), 1), 6, axis=0)
    ).values
    assert actual["margin"].tolist() == [0.0] * 5
    assert actual["uniformity"] == pytest.approx(1)
    assert (actual["uniformity"] <= 1).all()


def test_all_products_are_scored_with_or_without_attributes() -> None:
    catalog = Catalog("shop", (product(0, colour="red"), product(1), product(2, group="g1"), product(3, "val")))
    task = label_free(CONFIG, catalog, "test", None)
    assert task.images == ("image-0", "image-1", "image-2")
    assert task.texts == ("a bag", "bag, bag", "a hat", "hat, hat", "a shoe", "shoe, shoe")
    assert task.left_out == {}
    assert task.clusters is not None
    assert task.clusters.tolist() == [0, 1, 1]
    for split, most, number in (("val", None, 1), ("test", 1, 1), ("other", None, 0)):
        with pytest.raises(UserError, match=f"shop: .* the split {split} has {number}; give the split"):
            label_free(CONFIG, catalog, split, most)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"classes": ["bag"]}, "classes must be at least two different texts"),
        ({"classes": ["bag", "bag"]}, "classes must be at least two different texts"),
        ({"classes": ["bag", " "]}, "classes must be at least two different texts"),
        ({"templates": []}, "templates must be at least one text with {} in it"),
        ({"templates": ["a photo"]}, "templates must be at least one text with {} in it"),
        ({"label": "colour"}, "protocols.unlabelled.label: unknown key"),
        ({"kind": "label free"}, "`kind` must be one of .*, label-free"),
    ],
)
def test_invalid_params_are_reported(changed: dict[str, Any], message: str) -> None:
    protocol = {**PARAMS["protocols"]["unlabelled"], **changed}
    with pytest.raises(UserError, match=message):
        parse_config(
            {**PARAMS, "protocols": {**PARAMS["protocols"], "unlabelled": protocol}}, DatasetEvaluation, where="p"
        )


@pytest.mark.parametrize("metric", [*LABEL_FREE, "acc1"])
def test_label_free_metric_cannot_be_primary(metric: str) -> None:
    with pytest.raises(UserError, match="a label-free protocol cannot be a dataset's primary: it knows no right answ"):
        parse_config({**PARAMS, "primary": f"unlabelled.{metric}"}, DatasetEvaluation, where="params.yaml")


def test_label_free_changes_are_neither_gains_nor_losses(tmp_path: Path) -> None:
    workspace = make_shop(tmp_path / "shop")
    names = ("base-model", "step-000010")
    models = {name: workspace.finetune / "candidates" / name for name in names}
    models["broken"] = tiny_clip(tmp_path / "broken", seed=9, broken=True)
    roles = {"val": "select", "test": "report"}
    catalog = workspace.catalog("studio")
    files = DatasetFiles(
        "studio", catalog / "products.parquet", workspace.captions("studio"), workspace.images("studio"), roles
    )
    config = parse_config(PARAMS, DatasetEvaluation, where="params.yaml")
    options = RunOptions("cpu", 8, Resampling(resamples=50, confidence=0.9, seed=0))
    evaluation = evaluate_models(models, files, config, cache=workspace.feature_cache, options=options)
    label_free_scores = {
        (entry.model, entry.split, entry.metric): entry for entry in evaluation.scores if entry.protocol == "unlabelled"
    }
    assert len(label_free_scores) == 3 * 2 * 3
    assert not any(entry.primary for entry in label_free_scores.values())
    assert {label_free_scores[name, "val", metric].num_items for name in names for metric in LABEL_FREE} == {24}
    for name in names:
        assert label_free_scores[name, "val", "margin"].estimate.value > 0
        assert 0 < label_free_scores[name, "val", "alignment"].estimate.value < 4
        assert 0 < label_free_scores[name, "val", "uniformity"].estimate.value <= 1
    worst = [label_free_scores["broken", "val", metric].estimate.value for metric in LABEL_FREE]
    assert worst == [0, 4, 1]
    comparison = build_comparison(
        evaluation, read_catalog(files, with_captions=True), files.images,
        before="base-model", after="broken", attributes=["colour"], newest=None, min_items=5,
    )  # fmt: skip
    assert {view.protocol for view in comparison.views} == {"classification"}
    assert {change.protocol for change in comparison.headlines} == {"classification"}
    assert {change.metric for change in comparison.changes if change.protocol == "unlabelled"} == set(LABEL_FREE)
    # The changes are significant, but neither better nor worse.
    broken = [change for change in comparison.changes if change.metric == "alignment"]
    assert all(change.difference.excludes_zero for change in broken)
    rows = [
        row
        for row in write_comparison_page([comparison], tmp_path / "page.html").read_text().split("<tr")
        if "unlabelled" in row
    ]
    assert len(rows) == 6
    assert not any('class="up"' in row or 'class="down"' in row for row in rows)
    same = replace(config, protocols={"classification": config.protocols["classification"]})
    before = evaluate_models(models, files, same, cache=workspace.feature_cache, options=options)
    assert before.scores == tuple(entry for entry in evaluation.scores if entry.protocol != "unlabelled")
