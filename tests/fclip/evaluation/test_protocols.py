"""Each protocol on random features, against naive references and peers."""

from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import ndcg_score
from sklearn.neighbors import KNeighborsClassifier

from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog, CatalogProduct
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.outcomes import Outcome, equal_weights
from fclip.evaluation.protocols.attribute_search import AttributeSearchConfig, attribute_search, drop_own_document
from fclip.evaluation.protocols.documents import documents
from fclip.evaluation.protocols.fitted import LinearProbeConfig, NeighboursConfig, fitted, logistic_regression, votes
from fclip.evaluation.protocols.graded_retrieval import GradedRetrievalConfig, graded_retrieval
from fclip.evaluation.protocols.image_retrieval import ImageRetrievalConfig, image_retrieval
from fclip.evaluation.protocols.retrieval import RetrievalConfig, retrieval, retrieve
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig, classify, zero_shot
from fclip.features.similarity import unit


def product(number: int, split: str = "test", group: str | None = None, **attributes: str) -> CatalogProduct:
    title = attributes.pop("title", None)
    return CatalogProduct(
        product_id=f"p{number:03}",
        split=split,
        group_id=group or f"g{number}",
        image=f"image-{number}",
        attributes=attributes,
        captions={"title": title} if title else {},
    )


def measured(outcome: Outcome) -> dict[str, float]:
    return {name: float(value[0]) for name, value in outcome.metrics(equal_weights(outcome)).items()}


def random_features(shape: Sequence[int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=tuple(shape)).astype("f4")


def test_top_5_accuracy_equals_clip_benchmark() -> None:
    """In CLIP_benchmark, the label must be among the five classes with the largest logits."""
    images, classes = random_features((200, 16)), unit(random_features((12, 16), 1))
    labels = np.random.default_rng(2).integers(12, size=200)
    top = np.argsort(-(unit(images) @ classes.T), axis=1)[:, :5]
    values = measured(classify(images, classes, labels.tolist(), [1] * 12))
    assert values["acc5"] == pytest.approx((top == labels[:, None]).any(axis=1).mean())
    assert values["acc1"] == pytest.approx((top[:, 0] == labels).mean())


def test_hit_equals_the_recall_of_clip_benchmark() -> None:
    """In CLIP_benchmark, recall@k is whether any of an item's positives is among the k largest scores."""
    images, texts = random_features((40, 8)), random_features((25, 8), 1)
    text_of = [*range(25), *np.random.default_rng(2).integers(25, size=15).tolist()]
    scores = unit(texts) @ unit(images).T
    positive = np.array(text_of)[None] == np.arange(25)[:, None]
    actual = {direction: measured(outcome) for direction, outcome in retrieve(images, texts, text_of).items()}
    for k in (1, 5, 10):
        for direction, matrix, pairs in (("text_to_image", scores, positive), ("image_to_text", scores.T, positive.T)):
            top = np.argsort(-matrix, axis=1)[:, :k]
            assert actual[direction][f"hit_at_{k}"] == pytest.approx(
                np.take_along_axis(pairs, top, 1).any(axis=1).mean()
            )


def test_documents_are_the_weighted_sum_of_their_fields() -> None:
    shop = [product(0, title="red bag"), product(1, title="shoe"), product(2), product(3, title="shoe")]
    made = documents(shop, {"image": 0.9, "title": 0.1})
    assert made.texts == ("red bag", "shoe")
    images, texts = random_features((4, 6)), random_features((2, 6), 1)
    actual = made.embeddings(images, texts)
    for row, text in enumerate((0, 1, None, 1)):
        expected = 0.9 * unit(images)[row] + (0 if text is None else 0.1 * unit(texts)[text])
        assert actual[row] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_attribute_search_metrics() -> None:
    shop = Catalog("shop", (*tuple(product(i, colour=c) for i, c in enumerate(["red", "blue", "red"])), product(3)))
    config = AttributeSearchConfig(kind="attribute-search", query="colour", documents={"image": 1.0})
    task = attribute_search(config, shop, "test", None)
    assert (task.queries, task.texts, task.value_of.tolist()) == (("blue", "red"), ("blue", "red"), [1, 0, 1, -1])
    images = np.array([[1, 0], [0, 1], [1, 0.1], [0.9, 1]], "f4")
    texts = np.array([[0, 1], [1, 0]], "f4")
    values = measured(task.score(images, texts)[""].outcome)
    assert values["precision_at_1"] == 1
    assert values["precision_at_10"] == pytest.approx((1 / 10 + 2 / 10) / 2)
    assert values["recall_at_1"] == pytest.approx((1 + 1 / 2) / 2)
    assert values["avg_precision_1_10"] == pytest.approx((1 + 0.15) / 2)
    with pytest.raises(UserError, match="so there are no queries"):
        attribute_search(config, Catalog("shop", (product(0),)), "test", None)


def test_attribute_search_metric_cannot_be_primary() -> None:
    config = AttributeSearchConfig(kind="attribute-search", query="colour", documents={"image": 1.0})
    with pytest.raises(ValueError, match="primary must be one of"):
        DatasetEvaluation(primary="colours.mrr", max_items=None, slices=[], protocols={"colours": config})


def test_document_with_the_id_of_the_query_is_removed() -> None:
    ranked = np.array([[2, 0, 1], [1, 2, 0]])
    assert drop_own_document(ranked, ["b", "z"], ["a", "b", "c"]).tolist() == [[2, 0, -1], [1, 2, 0]]


def test_graded_retrieval_metrics_and_judged_share() -> None:
    grades = {"warm coat": {"p000": 4, "p001": 1, "p002": 0, "gone": 3}, "hat": {"p003": 0}}
    shop = Catalog("shop", tuple(product(i) for i in range(5)), grades)
    config = GradedRetrievalConfig(kind="graded-retrieval", documents={"image": 1.0})
    task = graded_retrieval(config, shop, "test", 1)
    assert task.queries == ("warm coat",)
    assert task.left_out == {"queries without a relevant product": 1}
    assert set(task.ids) >= {"p000", "p001", "p002", "p003"}  # sampled or graded
    whole = graded_retrieval(config, shop, "test", None)
    order = [1, 4, 0, 2, 3]  # p004, which has no judgement, comes second
    images = np.array([[np.cos(order.index(i) / 10), np.sin(order.index(i) / 10)] for i in range(5)], "f4")
    result = whole.score(images, np.array([[1, 0]], "f4"))[""]
    values = measured(result.outcome)
    gains, ideal = np.array([1, 0, 4, 0, 0]), np.array([4, 1, 0, 0, 0])
    discounts = 1 / np.log2(np.arange(2, 7))
    assert values["ndcg_at_10"] == pytest.approx(gains @ discounts / (ideal @ discounts))
    assert values["ndcg_at_10"] == pytest.approx(ndcg_score([[4, 1, 0, 0, 0]], [[3, 5, 2, 1, 4]]))
    assert values["judged_at_10"] == pytest.approx(3 / 5)
    assert values["mrr"] == 1
    with pytest.raises(UserError, match="has no relevance judgements"):
        graded_retrieval(config, Catalog("shop", shop.products), "test", None)
    with pytest.raises(UserError, match="none of the 2 graded queries has a relevant product"):
        graded_retrieval(config, shop, "val", None)


def test_image_retrieval_metrics() -> None:
    colours = ["red"] * 4 + ["blue"] * 3 + ["green"]
    shop = Catalog("shop", (*tuple(product(i, colour=c) for i, c in enumerate(colours)), product(8)))
    task = image_retrieval(ImageRetrievalConfig(kind="image-retrieval", label="colour"), shop, "test", None)
    assert task.left_out == {"no colour": 1, "unique colour": 1}
    images = random_features((7, 5))
    values = measured(task.score(images, np.empty((0, 0), "f4"))[""].outcome)
    nearest = np.argsort(-(unit(images) @ unit(images).T - 9 * np.eye(7)), axis=1)[:, :6]
    hits = np.array(colours)[nearest] == np.array(colours[:7])[:, None]
    assert values["hit_at_1"] == pytest.approx(hits[:, 0].mean())
    assert values["recall_at_5"] == pytest.approx(np.mean(hits[:, :5].sum(1) / np.array([3] * 4 + [2] * 3)))
    assert values["mrr"] == pytest.approx(np.mean(1 / (1 + hits.argmax(axis=1))))
    with pytest.raises(UserError, match="no two products of the split test share a colour"):
        image_retrieval(
            ImageRetrievalConfig(kind="image-retrieval", label="colour"),
            Catalog("shop", shop.products[3:5]),
            "test",
            None,
        )


def test_linear_probe_equals_scikit_learn() -> None:
    features, labels = unit(random_features((300, 10))), np.random.default_rng(1).integers(4, size=300)
    features[np.arange(300), labels] += 0.5
    l2 = 1e-3
    weights, bias = logistic_regression(features, labels, 4, l2)
    # scikit-learn minimises C times the summed loss plus half the squared weights.
    theirs = LogisticRegression(C=1 / (2 * l2 * 300), tol=1e-8, max_iter=2000).fit(features, labels)
    mine = features @ weights.T + bias
    assert (mine.argmax(1) == theirs.predict(features)).mean() > 0.99
    exact = np.exp(mine - mine.max(1, keepdims=True))
    assert exact / exact.sum(1, keepdims=True) == pytest.approx(theirs.predict_proba(features), abs=5e-3)


def test_nearest_neighbour_decides_a_tied_vote() -> None:
    known, queries = unit(random_features((80, 6))), unit(random_features((30, 6), 1))
    labels = np.random.default_rng(2).integers(3, size=80)
    theirs = KNeighborsClassifier(n_neighbors=5, metric="cosine").fit(known, labels)
    nearest = theirs.kneighbors(queries, return_distance=False)
    for predicted, row in zip(votes(known, labels, queries, 3, 5).argmax(axis=1), nearest, strict=True):
        counts = np.bincount(labels[row], minlength=3)
        tied = np.flatnonzero(counts == counts.max())
        assert predicted == next(label for label in labels[row] if label in tied)


def test_classifier_is_fitted_on_the_other_split() -> None:
    shop = Catalog(
        "shop",
        (
            *tuple(product(i, "val" if i % 2 else "test", colour="red" if i % 4 < 2 else "blue") for i in range(40)),
            product(40),
        ),
    )
    for config in (
        LinearProbeConfig(kind="linear-probe", label="colour", fit="val", l2=1e-4),
        NeighboursConfig(kind="k-nn", label="colour", fit="val", k=3),
    ):
        assert fitted(config, shop, "val", None) is None
        task = fitted(config, shop, "test", None)
        assert task is not None
        assert task.num_fitted == 20
        assert task.left_out == {"no colour": 1}
        images = random_features((40, 4)) * 0.1
        images[np.arange(40), task.labels] += 1
        images[-1] = np.nan
        assert measured(task.score(images, np.empty((0, 0), "f4"))[""].outcome)["acc1"] == pytest.approx(19 / 20)
        with pytest.raises(UserError, match="the split train has no product with a colour"):
            fitted(LinearProbeConfig(kind="linear-probe", label="colour", fit="train", l2=1.0), shop, "test", None)


def test_held_out_class_is_scored_zero_shot_but_not_by_fitted_classifiers() -> None:
    seen = tuple(product(i, "val" if i % 2 else "test", colour="red" if i % 4 < 2 else "blue") for i in range(8))
    held = (*(product(i, "greens", colour="green") for i in range(8, 11)), product(11, "test", colour="green"))
    shop = Catalog("shop", (*seen, *held))
    probe = LinearProbeConfig(kind="linear-probe", label="colour", fit="val", l2=1e-4)
    assert fitted(probe, shop, "greens", None) is None
    task = fitted(probe, shop, "test", None)
    assert task is not None
    assert task.left_out == {"a colour that the split val lacks": 1}
    classes = ZeroShotConfig(kind="zero-shot", label="colour", templates=["{}"], wordings={}, pool="mean")
    greens = zero_shot(classes, shop, "greens", None)
    assert greens.classes == ("blue", "green", "red")
    assert greens.labels == (1, 1, 1)


def test_products_of_a_group_are_one_cluster() -> None:
    shop = Catalog("shop", tuple(product(i, group=f"g{i // 2}", title=f"t{i}") for i in range(6)))
    task = retrieval(RetrievalConfig(kind="retrieval", caption="title"), shop, "test", None)
    assert task.clusters is not None
    assert task.clusters.tolist() == [0, 0, 1, 1, 2, 2]
