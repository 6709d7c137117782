"""The products of a dataset that evaluation reads: those of a split, or a fixed sample of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fclip.errors import UserError
from fclip.evaluation.outcomes import Ints
from fclip.files import sha256_bytes


@dataclass(frozen=True)
class DatasetFiles:
    """Paths of a dataset's `products.parquet`, captions and image packs, and the role of each split.

    Attributes:
        original: the `products.parquet` of the dataset that this one is derived from; None if it is not derived.
    """

    name: str
    products: Path
    captions: Path
    images: Path
    roles: Mapping[str, str]
    original: Path | None = None

    @property
    def judgements(self) -> Path:
        """Path of the relevance judgements. `ingest` writes the file only if the dataset has judgements."""
        return self.products.with_name("judgements.parquet")


@dataclass(frozen=True)
class CatalogProduct:
    """One product: the digest of its primary image, its attributes, and its first caption of each kind."""

    product_id: str
    split: str
    group_id: str
    image: str
    attributes: Mapping[str, str]
    captions: Mapping[str, str]


@dataclass(frozen=True)
class Catalog:
    """All products of a dataset, sorted by id.

    Attributes:
        judgements: relevance judgements, query -> product id -> grade; empty if the dataset has none.
        original: the attributes of the products of the original, if the dataset is derived from another one. A derived
            dataset has few of its products, but its classes are those of the original.
    """

    name: str
    products: tuple[CatalogProduct, ...]
    judgements: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    original: tuple[Mapping[str, str], ...] = ()

    def products_in(self, split: str, max_items: int | None) -> list[CatalogProduct]:
        """Return the products of a split, at most `max_items`, sorted by id.

        The sample depends only on a hash of the product ids, not on their order.
        """
        rows = [product for product in self.products if product.split == split]
        chosen = sorted(rows, key=lambda product: sha256_bytes(f"evaluate {product.product_id}".encode()))[:max_items]
        return sorted(chosen, key=lambda product: product.product_id)

    def attribute_values(self, attribute: str) -> tuple[str, ...]:
        """Return all values of an attribute over all splits, sorted; those of the original too.

        Raises:
            UserError: no product has the attribute.
        """
        described = (*(product.attributes for product in self.products), *self.original)
        values = tuple(sorted({value for attributes in described if (value := attributes.get(attribute))}))
        if not values:
            known = ", ".join(sorted({name for attributes in described for name in attributes})) or "none"
            raise UserError(f"{self.name}: no product has the attribute `{attribute}`; the attributes are {known}")
        return values


def read_catalog(files: DatasetFiles, *, with_captions: bool) -> Catalog:
    """Read the products of a dataset.

    Args:
        with_captions: whether to read the captions too; otherwise products have none.

    Raises:
        UserError: a file of the dataset is missing.
    """
    captions: dict[str, dict[str, str]] = {}
    captioned = _rows(files.captions, ["product_id", "captions"], f"caption@{files.name}") if with_captions else []
    for row in captioned:
        first_of_kind = captions.setdefault(row["product_id"], {})
        for caption in row["captions"]:
            first_of_kind.setdefault(caption["kind"], caption["text"])
    columns = ["product_id", "split", "group_id", "attributes", "images"]
    products = [
        CatalogProduct(
            product_id=row["product_id"],
            split=row["split"],
            group_id=row["group_id"],
            image=row["images"][0],
            attributes=_attributes(row),
            captions=captions.get(row["product_id"], {}),
        )
        for row in _rows(files.products, columns, f"ingest@{files.name}")
    ]
    judgements: dict[str, dict[str, int]] = {}
    if files.judgements.exists():
        for row in _rows(files.judgements, ["query", "product_id", "grade"], f"ingest@{files.name}"):
            judgements.setdefault(row["query"], {})[row["product_id"]] = row["grade"]
    originals = _rows(files.original, ["attributes"], f"derive@{files.name}") if files.original else []
    return Catalog(
        files.name,
        tuple(sorted(products, key=lambda product: product.product_id)),
        judgements,
        tuple(map(_attributes, originals)),
    )


def clusters_of(groups: list[str]) -> Ints | None:
    """Return the cluster number of each item from its group, int [n]; None if every group has one item."""
    distinct, clusters = np.unique(groups, return_inverse=True)
    return None if len(distinct) == len(groups) else clusters.astype(np.int64)


def _attributes(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in row["attributes"] if value}


def _rows(path: Path, columns: list[str], stage: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq  # imported here to keep the parsing of params fast

    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run `dvc pull` or `dvc repro {stage}`") from None
    return rows
