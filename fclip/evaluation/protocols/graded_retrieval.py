"""A team's own queries, with products that people graded from 0 to 4: nDCG, and how much of what is found was graded.

A product that nobody judged counts as grade 0. `judged_at_10` is the share of the first ten that were judged: where it
falls, a lower nDCG may be a better model that finds what nobody has looked at yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.metrics import Metric, first_k_metrics, names, ranking_metrics, recall_metrics
from fclip.evaluation.outcomes import MeanOutcome
from fclip.evaluation.protocols.attribute_search import falling
from fclip.evaluation.protocols.documents import Documents, check_weights, documents, read_captions
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import Found, TaskOutcome
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
class GradedQueries:
    """The task: `grades` holds, of each query, its graded documents by their row."""

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
        """Queries, then what documents hold."""
        return self.queries + self.documents.texts

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        depth = max(CUTOFFS)
        queries, fields = texts[: len(self.queries)], texts[len(self.queries) :]
        ranked = rank(unit(queries), self.documents.embeddings(images, fields), depth, preference=falling(self.ids))
        rows = list(zip(ranked.documents.tolist(), self.grades, strict=True))
        found = np.array([[own.get(document, 0) for document in row] for row, own in rows])
        known = np.array([[document in own for document in row] for row, own in rows])
        best = [sorted(own.values(), reverse=True)[:depth] for own in self.grades]
        ideal = np.array([grades + [0] * (depth - len(grades)) for grades in best])
        num_relevant = np.array([sum(grade > 0 for grade in own.values()) for own in self.grades])
        values = first_k_metrics(found, ideal, CUTOFFS, num_relevant=num_relevant)
        values[f"judged_at_{depth}"] = known.sum(axis=1) / np.maximum((ranked.documents >= 0).sum(axis=1), 1)
        return {"": TaskOutcome(MeanOutcome(values), self.queries, found=Found(self.ids, ranked.documents, found > 0))}


def judged(config: GradedRetrievalConfig, catalog: Catalog, split: str, max_items: int | None) -> GradedQueries:
    """The task on a split: its products, and the queries that some of them answer.

    Where only a sample of the products is judged by, those with a grade are in it.

    Raises:
        UserError: the dataset has no judgements, or none of its queries is answered in the split.
    """
    if not catalog.judgements:
        raise UserError(
            f"{catalog.name}: nobody judged its queries: give `judgements` in ingest.datasets.{catalog.name}, or take "
            "the protocol out of params.yaml"
        )
    graded = {product for own in catalog.judgements.values() for product in own}
    sampled = {product.product_id for product in catalog.of(split, max_items)}
    products = [each for each in catalog.of(split, None) if each.product_id in sampled or each.product_id in graded]
    rows = {product.product_id: row for row, product in enumerate(products)}
    here = {
        query: {rows[product]: grade for product, grade in own.items() if product in rows}
        for query, own in catalog.judgements.items()
    }
    answered = {query: own for query, own in here.items() if any(own.values())}
    if not answered:
        raise UserError(
            f"{catalog.name}: none of the {len(here)} judged queries is answered by a product of the split {split}: "
            "the query set is empty"
        )
    left = len(here) - len(answered)
    return GradedQueries(
        documents=documents(products, config.documents),
        queries=tuple(answered),
        ids=tuple(product.product_id for product in products),
        grades=tuple(answered.values()),
        left_out={"queries that nothing here answers": left} if left else {},
    )


PROTOCOL = ProtocolDeclaration(
    kind="graded-retrieval",
    label="graded queries",
    description="Products are searched by a team's own queries, and people graded what answers them.",
    config=GradedRetrievalConfig,
    make_task=judged,
    metrics=(*ranking_metrics(CUTOFFS), Metric(f"judged_at_{max(CUTOFFS)}", f"judged at {max(CUTOFFS)}")),
    primaries=("ndcg_at_10", *names(recall_metrics(CUTOFFS)), "mrr"),
    headlines=("ndcg_at_10", "recall_at_10", "mrr"),
    reads_captions=read_captions,
)
