"""Metrics and confidence intervals against naive references and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from fclip.config import parse_config
from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate, Resampling, differences, estimates, resamples
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.outcomes import ClassificationOutcome, MeanOutcome, Outcome, equal_weights
from fclip.evaluation.protocols.retrieval import retrieve
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig, class_embeddings, classify
from fclip.features.similarity import unit


def outcome(seed: int, num_items: int = 400, num_classes: int = 7) -> ClassificationOutcome:
    random = np.random.default_rng(seed)
    labels = random.integers(num_classes, size=num_items)
    predictions = np.where(random.random(num_items) < 0.6, labels, random.integers(num_classes, size=num_items))
    ranks = np.where(labels == predictions, 1, random.integers(2, num_classes + 1, size=num_items))
    return ClassificationOutcome(labels, predictions, ranks, num_classes)


def measured(outcome: Outcome) -> dict[str, float]:
    return {name: float(value[0]) for name, value in outcome.metrics(equal_weights(outcome)).items()}


@pytest.mark.filterwarnings("ignore")
@given(seed=st.integers(0, 10_000), num_items=st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_classification_metrics_equal_scikit_learn(seed: int, num_items: int) -> None:
    actual = outcome(seed, num_items)
    values = measured(actual)
    labels, predictions = actual.labels, actual.predictions
    present = sorted(set(labels) | set(predictions))
    assert values["acc1"] == pytest.approx(accuracy_score(labels, predictions))
    assert values["mean_per_class_recall"] == pytest.approx(balanced_accuracy_score(labels, predictions))
    macro = f1_score(labels, predictions, labels=present, average="macro", zero_division=0)
    assert values["macro_f1"] == pytest.approx(macro)
    weighted = f1_score(labels, predictions, average="weighted", zero_division=0)
    assert values["weighted_f1"] == pytest.approx(weighted)
    assert values["acc5"] == pytest.approx(np.mean(actual.ranks <= 5))


def test_metrics_of_a_resample_equal_those_of_its_items() -> None:
    actual = outcome(0)
    samples = np.random.default_rng(1).integers(400, size=(5, 400))
    weights = np.stack([np.bincount(sample, minlength=400) for sample in samples]).astype("f4")
    resampled = actual.metrics(weights)
    for row, sample in enumerate(samples):
        alone = ClassificationOutcome(
            actual.labels[sample], actual.predictions[sample], actual.ranks[sample], actual.num_classes
        )
        for metric, value in measured(alone).items():
            assert resampled[metric][row] == pytest.approx(value)


def naive_retrieval(images: np.ndarray, texts: np.ndarray, text_of: list[int]) -> dict[str, float]:
    similarity = unit(texts) @ unit(images).T
    recalls, ranks = [], []
    for text in range(len(texts)):
        order = np.argsort(-similarity[text], kind="stable")
        relevant = [image for image, own in enumerate(text_of) if own == text]
        recalls.append(len(set(order[:5]) & set(relevant)) / len(relevant))
        ranks.append(1 / (1 + min(int(np.flatnonzero(order == image)[0]) for image in relevant)))
    return {"recall_at_5": float(np.mean(recalls)), "mrr": float(np.mean(ranks))}


def test_retrieval_equals_the_naive_reference_with_ties() -> None:
    random = np.random.default_rng(0)
    images, texts = random.normal(size=(60, 8)).astype("f4"), random.normal(size=(25, 8)).astype("f4")
    images[10:20] = images[0]  # ties
    text_of = [*range(25), *random.integers(25, size=35)]
    actual = retrieve(images, texts, text_of)
    values = measured(actual["text_to_image"])
    for metric, value in naive_retrieval(images, texts, text_of).items():
        assert values[metric] == pytest.approx(value)
    back = measured(actual["image_to_text"])
    order = np.argsort(-(unit(images) @ unit(texts).T), axis=1, kind="stable")
    hits = [text_of[image] in order[image][:10] for image in range(60)]
    assert back["recall_at_10"] == back["hit_at_10"] == pytest.approx(np.mean(hits))


def test_class_embedding_is_the_mean_of_its_prompts() -> None:
    wordings = {"b": "bee", "c": ["sea", "see"]}
    config = ZeroShotConfig(
        kind="zero-shot", label="type", templates=["a {}", "one {}"], wordings=wordings, pool="mean"
    )
    texts = [("a a", "one a"), ("a bee", "one bee"), ("a sea", "one sea", "a see", "one see")]
    assert [config.prompts(name) for name in "abc"] == [(prompts,) for prompts in texts]
    features = np.random.default_rng(0).normal(size=(8, 5)).astype("f4")
    embeddings = class_embeddings(features, [len(prompts) for prompts in texts])
    for embedding, prompts in zip(embeddings, (features[:2], features[2:4], features[4:]), strict=True):
        assert embedding == pytest.approx(unit(unit(prompts).mean(axis=0)), abs=1e-6)


@pytest.mark.parametrize("wording", ["", [], ["bee", ""]])
def test_empty_wording_is_refused(wording: str | list[str]) -> None:
    with pytest.raises(ValueError, match="wordings of b must be a text, or a list of at least one"):
        ZeroShotConfig(kind="zero-shot", label="type", templates=["a {}"], wordings={"b": wording}, pool="mean")


def test_nearest_class_is_predicted_and_none_for_nonfinite_features() -> None:
    embeddings = unit(np.array([[1, 0], [0.1, 3]], "f4"))
    actual = classify(np.array([[5, 1], [0.1, 0.2], [np.nan, 1]], "f4"), embeddings, [0, 1, 1], [1, 1])
    assert actual.predictions.tolist() == [0, 1, -1]
    assert actual.ranks.tolist() == [1, 1, 0]


def test_pool_max_uses_the_nearest_wording() -> None:
    wordings: dict[str, str | list[str]] = {"bottoms": ["jeans", "skirts"]}
    config = ZeroShotConfig(kind="zero-shot", label="type", templates=["a {}", "{}"], wordings=wordings, pool="max")
    assert config.prompts("bottoms") == (("a jeans", "jeans"), ("a skirts", "skirts"))
    assert config.prompts("tops") == (("a tops", "tops"),)
    embeddings = unit(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], "f4"))  # tops; jeans and skirts
    images = np.array([[0.9, 0.5, 0], [0.1, 0.5, 0.9], [0, 1, 0.8]], "f4")
    assert classify(images, embeddings, [1, 1, 1], [1, 2]).predictions.tolist() == [1, 1, 0]
    mean = np.stack([embeddings[0], unit(embeddings[1:].sum(axis=0, keepdims=True))[0]])
    assert classify(images, mean, [1, 1, 1], [1, 1]).predictions.tolist() == [1, 1, 0]
    near_one = np.array([[1, 0.75, 0]], "f4")
    assert classify(near_one, embeddings, [1], [1, 2]).predictions.tolist() == [1]
    assert classify(near_one, mean, [1], [1, 1]).predictions.tolist() == [0]


def test_nonfinite_features_count_as_wrong() -> None:
    broken = np.full((4, 3), np.nan, "f4")
    fine = np.eye(4, 3, dtype="f4")
    assert measured(classify(broken, fine, [0, 1, 2, 3], [1, 1, 1, 1]))["acc1"] == 0
    assert measured(classify(fine, broken, [0, 1, 2, 3], [1, 1, 1, 1]))["acc1"] == 0
    actual = retrieve(broken, fine, [0, 1, 2, 3])
    assert set(measured(actual["text_to_image"]).values()) == {0.0}


def test_difference_is_zero_for_equal_and_significant_for_better_models() -> None:
    first = outcome(0)
    better = ClassificationOutcome(first.labels, first.labels, np.ones_like(first.ranks), first.num_classes)
    how = Resampling(resamples=200, confidence=0.95, seed=0)
    same = differences(first, first, None, how)
    assert all(each == Estimate(0, 0, 0, 0, np.zeros(0)) and not each.excludes_zero for each in same.values())
    gain, loss = differences(first, better, None, how)["acc1"], differences(better, first, None, how)["acc1"]
    assert gain.low > 0 > loss.high
    assert gain.excludes_zero
    assert loss.excludes_zero


def test_intervals_contain_the_value_and_depend_on_the_seed() -> None:
    how = Resampling(resamples=500, confidence=0.95, seed=7)
    actual = estimates(outcome(3), None, how)["acc1"]
    assert actual == estimates(outcome(3), None, how)["acc1"]
    assert actual.low < actual.value < actual.high
    expected = np.sqrt(actual.value * (1 - actual.value) / 400)
    assert actual.standard_error == pytest.approx(expected, rel=0.15)


def test_clusters_are_resampled_as_a_whole() -> None:
    """Copies of an item in one cluster do not narrow the interval."""
    how = Resampling(resamples=2000, confidence=0.95, seed=0)
    values = np.random.default_rng(0).random(50)
    alone = estimates(MeanOutcome({"x": values}), None, how)["x"]
    copied = MeanOutcome({"x": np.repeat(values, 20)})
    clusters = np.repeat(np.arange(50), 20)
    together = estimates(copied, clusters, how)["x"]
    assert together.standard_error == pytest.approx(alone.standard_error, rel=0.01)
    assert estimates(copied, None, how)["x"].standard_error < 0.3 * alone.standard_error
    for weights in resamples(1000, clusters, how):
        assert (weights.reshape(-1, 50, 20) == weights.reshape(-1, 50, 20)[:, :, :1]).all()
        assert (weights.sum(axis=1) == 1000).all()


def test_primary_metric_must_be_of_a_configured_protocol() -> None:
    with pytest.raises(ValueError, match=r"primary must be one of classification\.acc1"):
        DatasetEvaluation(
            primary="text_to_image.mrr",
            max_items=None,
            slices=[],
            protocols={
                "classification": ZeroShotConfig(
                    kind="zero-shot", label="x", templates=["{}"], wordings={}, pool="mean"
                ),
            },
        )


def test_held_metrics_are_metrics_that_can_be_primary() -> None:
    values = {
        "primary": "classification.acc1",
        "protocols": {"classification": {"kind": "zero-shot", "label": "colour"}, "titles": {"kind": "retrieval"}},
    }

    def parsed(*holds: str) -> DatasetEvaluation:
        return parse_config({**values, "holds": list(holds)}, DatasetEvaluation, where="params.yaml")

    recall = "titles.text_to_image.recall_at_10"
    assert parsed(recall).held == ("classification.acc1", recall)
    assert list(parsed().with_held_alone().protocols) == ["classification"]
    assert list(parsed(recall).with_held_alone().protocols) == ["classification", "titles"]
    with pytest.raises(UserError, match=r"holds: `titles\.recall` is not one of classification\.acc1"):
        parsed("titles.recall")
    for twice in ((recall, recall), ("classification.acc1",)):
        with pytest.raises(UserError, match="holds must name each metric once, and not the primary metric"):
            parsed(*twice)
