"""Attribute search gives the same metrics as marqo-FashionCLIP's evaluation with pytrec_eval, as BEIR calls it.

BEIR reads `map_cut`, `ndcg_cut`, `recall` and `P` from trec_eval, takes means over queries, rounds to five digits, and
removes a document whose id equals the query. Marqo takes the first 10 by cosine and computes the MRR from them.
"""

import json
from typing import Any

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from fclip.evaluation.outcomes import equal_weights
from fclip.evaluation.protocols.attribute_search import AttributeSearch
from fclip.evaluation.protocols.documents import Documents
from fclip.features.similarity import unit
from tests.conftest import dataset

Qrels = dict[str, dict[str, int]]


def by_pytrec_eval(qrels: Qrels, queries: np.ndarray, documents: np.ndarray, ids: list[str]) -> dict[str, float]:
    """Return Marqo's metrics for normalised embeddings [q, d] and [n, d]."""
    results: Qrels | Any = {}
    for query, embedding in zip(qrels, queries, strict=True):
        similarity = documents @ embedding
        top = np.lexsort((ids, similarity))[::-1][:10]
        results[query] = {ids[row]: float(similarity[row]) for row in top}
    reciprocal = 0.0
    for query, similarities in results.items():
        ordered = sorted(similarities.items(), key=lambda item: item[1], reverse=True)
        hits = [rank for rank, (name, _) in enumerate(ordered, 1) if qrels[query].get(name, 0) > 0]
        reciprocal += 1 / hits[0] if hits else 0
    for query, similarities in results.items():
        similarities.pop(query, None)
    measures = {"map_cut.1,10", "ndcg_cut.1,10", "recall.1,10", "P.1,10"}
    each = pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(results).values()
    names = {"map": "map_cut", "ndcg": "ndcg_cut", "recall": "recall", "precision": "P"}
    metrics = {
        f"{ours}_at_{k}": sum(query[f"{theirs}_{k}"] for query in each) / len(qrels)
        for ours, theirs in names.items()
        for k in (1, 10)
    }
    averages = {f"avg_{m}_1_10": (metrics[f"{m}_at_1"] + metrics[f"{m}_at_10"]) / 2 for m in ("precision", "recall")}
    return {name: round(value, 5) for name, value in {**metrics, **averages, "mrr": reciprocal / len(qrels)}.items()}


def by_fclip(qrels: Qrels, queries: np.ndarray, images: np.ndarray, ids: list[str]) -> dict[str, float]:
    value_of = np.full(len(ids), -1)
    number = {name: index for index, name in enumerate(ids)}
    for index, relevant in enumerate(qrels.values()):
        value_of[[number[name] for name in relevant]] = index
    documents = Documents(weights={"image": 1.0}, images=tuple(ids), texts=(), text_rows={})
    task = AttributeSearch(documents, tuple(qrels), tuple(ids), value_of, {})
    outcome = task.score(images, queries)[""].outcome
    return {name: float(value[0]) for name, value in outcome.metrics(equal_weights(outcome)).items()}


@given(seed=st.integers(0, 10**6), num_documents=st.integers(1, 60), tied=st.booleans())
@settings(max_examples=150, deadline=None)
def test_small_catalogs_with_ties_match_pytrec_eval(seed: int, num_documents: int, tied: bool) -> None:
    draw = np.random.default_rng(seed)
    ids = [str(name) for name in draw.choice(1000, size=num_documents, replace=False)]
    owners = draw.integers(-1, 3, size=num_documents)
    names = ["a", "b", ids[0]]  # one query equals the id of a document
    qrels = {names[q]: {ids[row]: 1 for row in np.flatnonzero(owners == q)} for q in range(3) if (owners == q).any()}
    if not qrels:
        return
    # Products of halves are exact in floating point, so ties are exact in both computations.
    shapes = ((num_documents, 4), (len(qrels), 4))
    images, queries = (draw.choice([-0.5, 0.5], s) if tied else unit(draw.normal(size=s)) for s in shapes)
    images, queries = images.astype("f4"), queries.astype("f4")
    actual = by_fclip(qrels, queries, images, ids)
    expected = by_pytrec_eval(qrels, queries, images, ids)
    for metric, value in expected.items():
        if metric != "mrr" or ids[0] not in qrels:  # pytrec_eval computes the MRR before that document is removed
            assert actual[metric] == pytest.approx(value, abs=1e-5), metric


@pytest.mark.parametrize("task", ["category1", "category2", "category3", "baseColour", "season", "usage"])
def test_public_ground_truth_of_kagl(task: str) -> None:
    """All queries and products, with random embeddings."""
    folder = dataset("kagl_marqo_qrels")
    qrels: Qrels = json.loads((folder / f"ground_truth_{task}-image+text.json").read_text())
    qrels = {query: relevant for query, relevant in qrels.items() if relevant}
    ids = sorted({name for relevant in qrels.values() for name in relevant}, key=int)
    draw = np.random.default_rng(0)
    queries = draw.normal(size=(len(qrels), 32)).astype("f4")
    images = draw.normal(size=(len(ids), 32)).astype("f4")
    number = {name: index for index, name in enumerate(ids)}
    for query, relevant in zip(queries, qrels.values(), strict=True):
        images[[number[name] for name in relevant]] += 0.15 * query
    actual = by_fclip(qrels, unit(queries), images, ids)
    expected = by_pytrec_eval(qrels, unit(queries), unit(images), ids)
    assert 0.01 < expected["precision_at_10"] <= 1
    for metric, value in expected.items():
        assert actual[metric] == pytest.approx(value, abs=1e-5), metric
