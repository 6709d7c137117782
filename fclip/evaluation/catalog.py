"""What of a dataset is judged: the products of a split, or a fixed sample of them."""

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
    """Where a dataset lies: `products.parquet`, its captions, its packs; and the role of each of its splits."""

    name: str
    products: Path
    captions: Path
    images: Path
    roles: Mapping[str, str]

    @property
    def judgements(self) -> Path:
        """Written by `ingest` where the dataset has some."""
        return self.products.with_name("judgements.parquet")


@dataclass(frozen=True)
class Product:
    """One product: its primary image, what is known of it, and its first caption of each kind."""

    product_id: str
    split: str
    group_id: str
    image: str
    attributes: Mapping[str, str]
    captions: Mapping[str, str]


@dataclass(frozen=True)
class Catalog:
    """All products of a dataset, by their ids; protocols sample from it.

    judgements: query -> product id -> grade, as people judged them; {} where they did not.
    """

    name: str
    products: tuple[Product, ...]
    judgements: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def of(self, split: str, max_items: int | None) -> list[Product]:
        """The split's products, at most `max_items`: by a hash of their ids, whatever order they stand in."""
        rows = [product for product in self.products if product.split == split]
        chosen = sorted(rows, key=lambda product: sha256_bytes(f"evaluate {product.product_id}".encode()))[:max_items]
        return sorted(chosen, key=lambda product: product.product_id)

    def values(self, attribute: str) -> tuple[str, ...]:
        """All values of an attribute, over all splits, sorted.

        Raises:
            UserError: no product has it.
        """
        values = tuple(sorted({value for product in self.products if (value := product.attributes.get(attribute))}))
        if not values:
            known = ", ".join(sorted({name for product in self.products for name in product.attributes})) or "none"
            raise UserError(f"{self.name}: no product has the attribute `{attribute}`; there are {known}")
        return values


def read_catalog(files: DatasetFiles, *, with_captions: bool) -> Catalog:
    """A dataset's products; raises UserError where it has no files yet."""
    captions: dict[str, dict[str, str]] = {}
    captioned = _rows(files.captions, ["product_id", "captions"], f"caption@{files.name}") if with_captions else []
    for row in captioned:
        own = captions.setdefault(row["product_id"], {})
        for caption in row["captions"]:
            own.setdefault(caption["kind"], caption["text"])
    columns = ["product_id", "split", "group_id", "attributes", "images"]
    products = [
        Product(
            product_id=row["product_id"],
            split=row["split"],
            group_id=row["group_id"],
            image=row["images"][0],
            attributes={name: value for name, value in row["attributes"] if value},
            captions=captions.get(row["product_id"], {}),
        )
        for row in _rows(files.products, columns, f"ingest@{files.name}")
    ]
    judgements: dict[str, dict[str, int]] = {}
    if files.judgements.exists():
        for row in _rows(files.judgements, ["query", "product_id", "grade"], f"ingest@{files.name}"):
            judgements.setdefault(row["query"], {})[row["product_id"]] = row["grade"]
    return Catalog(files.name, tuple(sorted(products, key=lambda product: product.product_id)), judgements)


def clusters_of(groups: list[str]) -> Ints | None:
    """int [n]: the cluster of each item by its group; None where every item is alone."""
    distinct, clusters = np.unique(groups, return_inverse=True)
    return None if len(distinct) == len(groups) else clusters.astype(np.int64)


def _rows(path: Path, columns: list[str], stage: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq  # params are parsed with this module, and do not wait for it

    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc pull`, or `dvc repro {stage}`") from None
    return rows
