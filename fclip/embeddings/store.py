"""Embeddings on disk, in their canonical form: Parquet with the model's digest in every row, and a manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.features.cache import as_lists
from fclip.files import read_json, write_json

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddedRows:
    """L2-normalised embeddings, float32 [n, d], and columns of n values that describe the rows."""

    columns: dict[str, list[str]]
    embeddings: FloatArray


@dataclass(frozen=True)
class Embeddings:
    """The stored embeddings of a catalog, all by one model.

    Attributes:
        datasets, product_ids, image_sha256: for each image, its dataset, product and digest.
        images: float32 [images, d].
        titles: (dataset, product id) -> embedded text.
    """

    model_sha256: str
    datasets: list[str]
    product_ids: list[str]
    image_sha256: list[str]
    images: FloatArray
    titles: dict[tuple[str, str], str]

    def title(self, dataset: str, product_id: str) -> str:
        """Return the embedded text of a product; "" if it has none."""
        return self.titles.get((dataset, product_id), "")


def write_embeddings(
    folder: Path, *, model_sha256: str, images: EmbeddedRows, texts: EmbeddedRows, manifest: dict[str, Any]
) -> None:
    """Write images.parquet, texts.parquet and manifest.json to the existing folder `folder`.

    Raises:
        UserError: an embedding is not finite.
    """
    for name, rows in (("images", images), ("texts", texts)):
        if broken := int((~np.isfinite(rows.embeddings)).any(axis=1).sum()):
            raise UserError(
                f"model {model_sha256[:12]} gives {broken} of {len(rows.embeddings)} {name} embeddings that are not "
                "finite; go back to the previous champion with `fclip rollback`"
            )
        pq.write_table(_table(rows, model_sha256), folder / f"{name}.parquet", compression="none")
    write_json(folder / "manifest.json", {**manifest, "model_sha256": model_sha256})


def read_embeddings(folder: Path) -> Embeddings:
    """Read stored embeddings.

    Raises:
        UserError: a file is missing or damaged, or rows are by another model than the one in the manifest.
    """
    try:
        manifest = read_json(folder / "manifest.json")
        images = pq.read_table(folder / "images.parquet")
        texts = pq.read_table(folder / "texts.parquet", columns=["dataset", "product_id", "text"])
    except (OSError, ValueError) as error:  # pyarrow's errors are of these classes
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} has no readable embeddings ({reason}); run `dvc pull` or `dvc repro embed`"
        ) from error
    models = set(images["model_sha256"].unique().to_pylist())
    if models - {manifest["model_sha256"]}:
        raise UserError(
            f"{folder} has embeddings by several models ({', '.join(sorted(models))}); run `dvc repro embed`"
        )
    column = images["embedding"].combine_chunks()
    keys = zip(texts["dataset"].to_pylist(), texts["product_id"].to_pylist(), strict=True)
    return Embeddings(
        manifest["model_sha256"],
        images["dataset"].to_pylist(),
        images["product_id"].to_pylist(),
        images["image_sha256"].to_pylist(),
        column.flatten().to_numpy().reshape(len(images), column.type.list_size),
        dict(zip(keys, texts["text"].to_pylist(), strict=True)),
    )


def sample_texts(folder: Path, number: int) -> FloatArray:
    """Return the embeddings of at most `number` stored texts at equal distances: float32 [n, d]."""
    column = pq.read_table(folder / "texts.parquet", columns=["embedding"], memory_map=True)["embedding"]
    rows = np.unique(np.linspace(0, len(column) - 1, min(number, len(column))).astype(np.int64))
    sample = column.take(pa.array(rows)).combine_chunks()
    return np.asarray(sample.flatten().to_numpy(), np.float32).reshape(len(rows), column.type.list_size)


def _table(rows: EmbeddedRows, model_sha256: str) -> pa.Table:
    columns: dict[str, Any] = {name: pa.array(values, pa.string()) for name, values in rows.columns.items()}
    columns["model_sha256"] = pa.array([model_sha256] * len(rows.embeddings), pa.string())
    columns["embedding"] = as_lists(rows.embeddings)
    return pa.table(columns)
