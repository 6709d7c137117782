"""Embeddings on disk: Parquet with the model's digest on every row, and a manifest. The canonical form."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.files import read_json, write_json

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedRows:
    """Embeddings float32 [n, d], L2-normalised, and what each row is of: columns of n values each."""

    columns: dict[str, list[str]]
    embeddings: FloatArray


@dataclass(frozen=True)
class Embeddings:
    """A set as read: images, one row each, of products; the products' titles; the model that made it all."""

    model_sha256: str
    datasets: list[str]
    product_ids: list[str]
    images: FloatArray
    titles: dict[tuple[str, str], str]

    def title(self, dataset: str, product_id: str) -> str:
        """The text that was embedded of a product, empty where it has none."""
        return self.titles.get((dataset, product_id), "")


def write_embeddings(
    folder: Path, *, model_sha256: str, images: EmbeddedRows, texts: EmbeddedRows, manifest: dict[str, Any]
) -> None:
    """Write images.parquet, texts.parquet and manifest.json into `folder`, which exists.

    Raises:
        UserError: an embedding is not finite.
    """
    for name, rows in (("images", images), ("texts", texts)):
        if broken := int((~np.isfinite(rows.embeddings)).any(axis=1).sum()):
            raise UserError(
                f"the model {model_sha256[:12]} gives {broken} of {len(rows.embeddings)} {name} embeddings that are "
                "not finite: roll back to another version with `fclip rollback`"
            )
        pq.write_table(_table(rows, model_sha256), folder / f"{name}.parquet", compression="none")
    write_json(folder / "manifest.json", {**manifest, "model_sha256": model_sha256})


def read_embeddings(folder: Path) -> Embeddings:
    """Read a set; raises UserError when rows are of another model than the manifest says."""
    manifest = read_json(folder / "manifest.json")
    images = pq.read_table(folder / "images.parquet")
    texts = pq.read_table(folder / "texts.parquet", columns=["dataset", "product_id", "text"])
    models = set(images["model_sha256"].unique().to_pylist())
    if models - {manifest["model_sha256"]}:
        raise UserError(f"{folder} holds embeddings of several models ({', '.join(sorted(models))}): embed it again")
    column = images["embedding"].combine_chunks()
    keys = zip(texts["dataset"].to_pylist(), texts["product_id"].to_pylist(), strict=True)
    return Embeddings(
        manifest["model_sha256"],
        images["dataset"].to_pylist(),
        images["product_id"].to_pylist(),
        column.flatten().to_numpy().reshape(len(images), column.type.list_size),
        dict(zip(keys, texts["text"].to_pylist(), strict=True)),
    )


def _table(rows: EmbeddedRows, model_sha256: str) -> pa.Table:
    columns: dict[str, Any] = {name: pa.array(values, pa.string()) for name, values in rows.columns.items()}
    columns["model_sha256"] = pa.array([model_sha256] * len(rows.embeddings), pa.string())
    columns["embedding"] = _vectors(rows.embeddings)
    return pa.table(columns)


def _vectors(embeddings: Sequence[Any] | FloatArray) -> pa.Array:
    values = np.ascontiguousarray(embeddings, np.float32)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])
