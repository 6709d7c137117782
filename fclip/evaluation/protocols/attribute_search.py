"""From an attribute's value to its products: category to product, colour to product …, as marqo-FashionCLIP judges it.

Every value is a query, every product a document of weighted fields, and those with the value are relevant. Rankings are
cut at 10, MRR too; among equal similarities the greater product id comes first (pytrec_eval's order), and a product
whose id is the query is taken out of the ten (BEIR's rule). `avg_precision_1_10`, their AvgP, is the mean of precision
at 1 and 10. Query sets are small (7 categories, 4 seasons): no dataset is selected by them, and wherever they are shown
their number is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fclip.config import config
from fclip.errors import UserError
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.metrics import Metric, first_k_metrics, ranking_metrics
from fclip.evaluation.outcomes import Floats, Ints, MeanOutcome
from fclip.evaluation.protocols.documents import Documents, check_weights, documents, read_captions
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import Found, TaskOutcome
from fclip.features.similarity import FloatArray, rank, unit

CUTOFFS = (1, 10)


@config
class AttributeSearchConfig:
    """Search by the values of an attribute."""

    kind: Literal["attribute-search"]
    query: str
    """The attribute; each of its values in the split is a query."""
    documents: dict[str, float] = field(default_factory=lambda: {"image": 0.9, "title": 0.1})
    """What a product is found by: weights of its image (`image`) and of kinds of captions."""

    def __post_init__(self) -> None:
        check_weights(self.documents)


@dataclass(frozen=True)
class AttributeQueries:
    """The task: `ids` are the documents', and `value_of` says which query each is relevant to; -1: none."""

    documents: Documents
    queries: tuple[str, ...]
    ids: tuple[str, ...]
    value_of: Ints
    left_out: Mapping[str, int]

    @property
    def images(self) -> tuple[str, ...]:
        return self.documents.images

    @property
    def texts(self) -> tuple[str, ...]:
        """Queries, then what documents hold."""
        return self.queries + self.documents.texts

    def judge(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        queries, fields = texts[: len(self.queries)], texts[len(self.queries) :]
        ranked = rank(
            unit(queries), self.documents.embeddings(images, fields), max(CUTOFFS), preference=falling(self.ids)
        )
        found = without_itself(ranked.documents, self.queries, self.ids)
        relevant = (found >= 0) & (self.value_of[found] == np.arange(len(self.queries))[:, None])
        num_relevant = np.bincount(self.value_of[self.value_of >= 0], minlength=len(self.queries))
        outcome = MeanOutcome(marqo_metrics(relevant, num_relevant))
        return {"": TaskOutcome(outcome, self.queries, found=Found(self.ids, found, relevant))}


def products(config: AttributeSearchConfig, catalog: Catalog, split: str, max_items: int | None) -> AttributeQueries:
    """The task on a split; raises UserError where none of its products has the attribute."""
    found = catalog.of(split, max_items)
    values = [product.attributes.get(config.query) for product in found]
    queries = tuple(sorted({value for value in values if value}))
    if not queries:
        raise UserError(
            f"{catalog.name}: none of the {len(found)} products of the split {split} has a {config.query} to search "
            "by: the query set is empty"
        )
    number = {value: index for index, value in enumerate(queries)}
    return AttributeQueries(
        documents=documents(found, config.documents),
        queries=queries,
        ids=tuple(product.product_id for product in found),
        value_of=np.array([number.get(value or "", -1) for value in values], np.int64),
        left_out={},
    )


def marqo_metrics(relevant: NDArray[np.bool_], num_relevant: Ints) -> dict[str, Floats]:
    """Recall, precision, map and ndcg at 1 and 10, MRR at 10, and the averages of two cut-offs that Marqo shows.

    Args:
        relevant: bool [q, up to 10], whether each document found is relevant. num_relevant: int [q].
    """
    ideal = (np.arange(max(CUTOFFS)) < num_relevant[:, None]).astype(np.int64)
    values = first_k_metrics(relevant.astype(np.int64), ideal, CUTOFFS, num_relevant=num_relevant)
    first, last = CUTOFFS
    for metric in ("recall", "precision"):
        values[f"avg_{metric}_{first}_{last}"] = (values[f"{metric}_at_{first}"] + values[f"{metric}_at_{last}"]) / 2
    return values


def falling(ids: Sequence[str]) -> Ints:
    """int [n]: the place of each id when they are sorted from the greatest."""
    places = np.empty(len(ids), np.int64)
    places[sorted(range(len(ids)), key=ids.__getitem__, reverse=True)] = np.arange(len(ids))
    return places


def without_itself(found: Ints, queries: Sequence[str], ids: Sequence[str]) -> Ints:
    """`found` [q, k] without the document whose id is the query: those after it move up, and -1 comes last."""
    number = {name: index for index, name in enumerate(ids)}
    kept = found.copy()
    for row, query in enumerate(queries):
        if query in number:
            others = found[row][found[row] != number[query]]
            kept[row] = np.pad(others, (0, found.shape[1] - len(others)), constant_values=-1)
    return kept


PROTOCOL = ProtocolDeclaration(
    kind="attribute-search",
    label="search by attribute",
    description="Products are searched by the values of an attribute; its few queries decide nothing.",
    config=AttributeSearchConfig,
    make_task=products,
    metrics=(
        *ranking_metrics(CUTOFFS),
        *(Metric(f"avg_{metric}_1_10", f"avg {metric} 1 10") for metric in ("recall", "precision")),
    ),
    headlines=("avg_precision_1_10", "ndcg_at_10", "recall_at_10", "mrr"),
    reads_captions=read_captions,
)
