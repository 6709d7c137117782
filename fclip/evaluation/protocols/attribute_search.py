"""Search for products by attribute values (category to product, colour to product, …), as in marqo-FashionCLIP.

Each value of an attribute is a query, each product is a document of weighted fields, and the products with the value
are relevant. Rankings are cut at 10, also for MRR. Among equal similarities the greater product id comes first, as in
pytrec_eval. A product whose id equals the query is removed from the first ten, as in BEIR. `avg_precision_1_10`, called
AvgP by Marqo, is the mean of the precision at 1 and at 10. The query sets are small (7 categories, 4 seasons), so these
metrics cannot be a dataset's primary metric, and reports show the number of queries.
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
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
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
class AttributeSearch:
    """The task.

    Attributes:
        queries: the attribute values. ids: the product ids of the documents.
        value_of: int [n], the query that each document is relevant to; -1: none.
    """

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
        """The queries, followed by the texts of the documents."""
        return self.queries + self.documents.texts

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        queries, fields = texts[: len(self.queries)], texts[len(self.queries) :]
        ranked = rank(
            unit(queries),
            self.documents.embeddings(images, fields),
            max(CUTOFFS),
            preference=descending_positions(self.ids),
        )
        results = drop_own_document(ranked.documents, self.queries, self.ids)
        relevant = (results >= 0) & (self.value_of[results] == np.arange(len(self.queries))[:, None])
        num_relevant = np.bincount(self.value_of[self.value_of >= 0], minlength=len(self.queries))
        outcome = MeanOutcome(marqo_metrics(relevant, num_relevant))
        return {"": TaskOutcome(outcome, self.queries, search_results=SearchResults(self.ids, results, relevant))}


def attribute_search(
    config: AttributeSearchConfig, catalog: Catalog, split: str, max_items: int | None
) -> AttributeSearch:
    """Return the task on a split.

    Raises:
        UserError: no product of the split has the attribute.
    """
    products = catalog.products_in(split, max_items)
    values = [product.attributes.get(config.query) for product in products]
    queries = tuple(sorted({value for value in values if value}))
    if not queries:
        raise UserError(
            f"{catalog.name}: none of the {len(products)} products of the split {split} has the attribute "
            f"{config.query}, so there are no queries; give the split more products, or remove the protocol from "
            "params.yaml"
        )
    number = {value: index for index, value in enumerate(queries)}
    return AttributeSearch(
        documents=documents(products, config.documents),
        queries=queries,
        ids=tuple(product.product_id for product in products),
        value_of=np.array([number.get(value or "", -1) for value in values], np.int64),
        left_out={},
    )


def marqo_metrics(relevant: NDArray[np.bool_], num_relevant: Ints) -> dict[str, Floats]:
    """Return recall, precision, map and ndcg at 1 and 10, MRR at 10, and Marqo's means of the values at 1 and 10.

    Args:
        relevant: bool [q, up to 10], whether each result is relevant.
        num_relevant: int [q], number of documents relevant to each query.
    """
    ideal = (np.arange(max(CUTOFFS)) < num_relevant[:, None]).astype(np.int64)
    values = first_k_metrics(relevant.astype(np.int64), ideal, CUTOFFS, num_relevant=num_relevant)
    first, last = CUTOFFS
    for metric in ("recall", "precision"):
        values[f"avg_{metric}_{first}_{last}"] = (values[f"{metric}_at_{first}"] + values[f"{metric}_at_{last}"]) / 2
    return values


def descending_positions(ids: Sequence[str]) -> Ints:
    """Return the position of each id in descending order, int [n]."""
    positions = np.empty(len(ids), np.int64)
    positions[sorted(range(len(ids)), key=ids.__getitem__, reverse=True)] = np.arange(len(ids))
    return positions


def drop_own_document(ranked: Ints, queries: Sequence[str], ids: Sequence[str]) -> Ints:
    """Return `ranked` [q, k] without the document whose id equals the query; later results move up, then -1."""
    number = {name: index for index, name in enumerate(ids)}
    kept = ranked.copy()
    for row, query in enumerate(queries):
        if query in number:
            others = ranked[row][ranked[row] != number[query]]
            kept[row] = np.pad(others, (0, ranked.shape[1] - len(others)), constant_values=-1)
    return kept


PROTOCOL = ProtocolDeclaration(
    kind="attribute-search",
    label="search by attribute",
    description="Products are searched by the values of an attribute. These few queries are not used for selection.",
    config=AttributeSearchConfig,
    make_task=attribute_search,
    metrics=(
        *ranking_metrics(CUTOFFS),
        *(Metric(f"avg_{metric}_1_10", f"mean {metric} at 1 and 10") for metric in ("recall", "precision")),
    ),
    headlines=("avg_precision_1_10", "ndcg_at_10", "recall_at_10", "mrr"),
    reads_captions=read_captions,
)
