"""Embeddings on disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fclip.embeddings.store import EmbeddedRows, read_embeddings, sample_texts, write_embeddings
from fclip.errors import UserError
from fclip.features.similarity import unit

MODEL = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """51 images of 50 products, with a text for each product."""
    random = np.random.default_rng(0)
    products = [f"p{number:03d}" for number in range(50)]
    with_second = [*products, "p007"]
    columns = {"dataset": ["shop"] * 51, "product_id": with_second, "image_sha256": [f"{n:064d}" for n in range(51)]}
    texts = {"dataset": ["shop"] * 50, "product_id": products, "kind": ["title"] * 50, "text": products}
    write_embeddings(
        tmp_path,
        model_sha256=MODEL,
        images=EmbeddedRows(columns, unit(random.normal(size=(51, 16)).astype("f4"))),
        texts=EmbeddedRows(texts, unit(random.normal(size=(50, 16)).astype("f4"))),
        manifest={"num_products": 50},
    )
    return tmp_path


def test_embeddings_are_read_as_they_were_written(folder: Path) -> None:
    stored = read_embeddings(folder)
    expected = unit(np.random.default_rng(0).normal(size=(51, 16)).astype("f4"))
    np.testing.assert_array_equal(stored.images, expected)
    assert (stored.model_sha256, stored.product_ids[-1], stored.image_sha256[50]) == (MODEL, "p007", f"{50:064d}")
    assert stored.title("shop", "p003") == "p003"
    assert stored.title("street", "p003") == ""


@pytest.mark.parametrize("number", [1, 7, 50, 200])
def test_sample_of_texts_is_spread_over_all(folder: Path, number: int) -> None:
    texts = pq.read_table(folder / "texts.parquet")["embedding"].combine_chunks().flatten().to_numpy().reshape(50, 16)
    sample = sample_texts(folder, number)
    rows = sorted({int(row) for row in np.linspace(0, 49, min(number, 50))})
    np.testing.assert_array_equal(sample, texts[rows])


@pytest.mark.parametrize("name", ["images.parquet", "texts.parquet", "manifest.json"])
def test_files_that_are_cut_short_are_refused_with_the_remedy(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for part in (content[: len(content) // 2], b""):
        (folder / name).write_bytes(part)
        with pytest.raises(UserError, match=r"no readable embeddings .*dvc repro embed"):
            read_embeddings(folder)
    (folder / name).unlink()
    with pytest.raises(UserError, match=r"no readable embeddings .*dvc repro embed"):
        read_embeddings(folder)


def test_rows_of_another_model_are_refused(folder: Path) -> None:
    table = pq.read_table(folder / "images.parquet")
    other = pa.array([MODEL] * 50 + ["b" * 64])
    pq.write_table(
        table.set_column(table.column_names.index("model_sha256"), "model_sha256", other), folder / "images.parquet"
    )
    with pytest.raises(UserError, match="embeddings by several models"):
        read_embeddings(folder)


def test_nonfinite_embeddings_are_not_written(tmp_path: Path) -> None:
    rows = EmbeddedRows({"product_id": ["a", "b"]}, np.array([[1, 0], [np.nan, 1]], "f4"))
    with pytest.raises(UserError, match="1 of 2 images embeddings"):
        write_embeddings(tmp_path, model_sha256=MODEL, images=rows, texts=rows, manifest={})
    assert not list(tmp_path.iterdir())
