"""Retrieval by a team's own queries, with relevance judgements from 0 to 4: nDCG and the share of judged results.

A product without a judgement counts as grade 0. `judged_at_10` is the share of the first ten results that have a
judgement. If it falls, a lower nDCG may come from relevant products that are not judged yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.metrics import Metric, first_k_metrics, metric_names, ranking_metrics, recall_metrics
from fclip.evaluation.outcomes import MeanOutcome
from fclip.evaluation.protocols.attribute_search import descending_positions
from fclip.evaluation.protocols.documents import Documents, check_weights, documents, read_captions
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
from fclip.features.similarity import FloatArray, rank, unit

CUTOFFS = (1, 5, 10)


@config
class GradedRetrievalConfig:
    """Search by the queries of `ingest.datasets.<name>.judgements`, with graded relevance."""

    kind: Literal["graded-retrieval"]
    documents: dict[str, float] = field(default_factory=lambda: {"image": 0.9, "title": 0.1})
    """What a product is found by: weights of its image (`image`) and of kinds of captions."""

    def __post_init__(self) -> None:
        check_weights(self.documents)


@dataclass(frozen=True)
class GradedRetrieval:
    """The task.

    Attributes:
        ids: the product ids of the documents. grades: for each query, document row -> grade.
    """

    documents: Documents
    queries: tuple[str, ...]
    ids: tuple[str, ...]
    grades: tuple[Mapping[int, int], ...]
    left_out: Mapping[str, int]

    @property
    def images(self) -> tuple[str, ...]:
        return self.documents.images

    @property
    def texts(self) -> tuple[str, ...]:
        """The queries, followed by the texts of the documents."""
        return self.queries + self.documents.texts

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        depth = max(CUTOFFS)
        queries, fields = texts[: len(self.queries)], texts[len(self.queries) :]
        ranked = rank(
            unit(queries), self.documents.embeddings(images, fields), depth, preference=descending_positions(self.ids)
        )
        rows = list(zip(ranked.documents.tolist(), self.grades, strict=True))
        result_grades = np.array([[grades.get(document, 0) for document in row] for row, grades in rows])
        is_judged = np.array([[document in grades for document in row] for row, grades in rows])
        best = [sorted(grades.values(), reverse=True)[:depth] for grades in self.grades]
        ideal = np.array([grades + [0] * (depth - len(grades)) for grades in best])
        num_relevant = np.array([sum(grade > 0 for grade in grades.values()) for grades in self.grades])
        values = first_k_metrics(result_grades, ideal, CUTOFFS, num_relevant=num_relevant)
        values[f"judged_at_{depth}"] = is_judged.sum(axis=1) / np.maximum((ranked.documents >= 0).sum(axis=1), 1)
        return {
            "": TaskOutcome(
                MeanOutcome(values),
                self.queries,
                search_results=SearchResults(self.ids, ranked.documents, result_grades > 0),
            )
        }


def graded_retrieval(
    config: GradedRetrievalConfig, catalog: Catalog, split: str, max_items: int | None
) -> GradedRetrieval:
    """Return the task on a split: its products, and the queries that have a relevant product among them.

    A sample of the products includes all products with a judgement.

    Raises:
        UserError: the dataset has no judgements, or no query has a relevant product in the split.
    """
    if not catalog.judgements:
        raise UserError(
            f"{catalog.name}: the dataset has no relevance judgements; set `judgements` in "
            f"ingest.datasets.{catalog.name}, or remove the protocol from params.yaml"
        )
    judged = {product_id for grades in catalog.judgements.values() for product_id in grades}
    sampled = {product.product_id for product in catalog.products_in(split, max_items)}
    products = [
        each for each in catalog.products_in(split, None) if each.product_id in sampled or each.product_id in judged
    ]
    rows = {product.product_id: row for row, product in enumerate(products)}
    in_split = {
        query: {rows[product_id]: grade for product_id, grade in grades.items() if product_id in rows}
        for query, grades in catalog.judgements.items()
    }
    answered = {query: grades for query, grades in in_split.items() if any(grades.values())}
    if not answered:
        raise UserError(
            f"{catalog.name}: none of the {len(in_split)} graded queries has a relevant product in the split {split}; "
            "add judgements for products of the split, or remove the protocol from params.yaml"
        )
    num_unanswered = len(in_split) - len(answered)
    return GradedRetrieval(
        documents=documents(products, config.documents),
        queries=tuple(answered),
        ids=tuple(product.product_id for product in products),
        grades=tuple(answered.values()),
        left_out={"queries without a relevant product": num_unanswered} if num_unanswered else {},
    )


PROTOCOL = ProtocolDeclaration(
    kind="graded-retrieval",
    label="graded queries",
    description="Products are searched by a team's own queries with relevance judgements.",
    config=GradedRetrievalConfig,
    make_task=graded_retrieval,
    metrics=(*ranking_metrics(CUTOFFS), Metric(f"judged_at_{max(CUTOFFS)}", f"judged at {max(CUTOFFS)}")),
    primaries=("ndcg_at_10", *metric_names(recall_metrics(CUTOFFS)), "mrr"),
    headlines=("ndcg_at_10", "recall_at_10", "mrr"),
    reads_captions=read_captions,
)
