"""Stage `embed`: image and text embeddings of all products of the training datasets, in all splits.

    python -m tasks.embed

Uses the pinned champion, or the selected model if there is no champion. Reuses the features that evaluation has cached.
Writes data/embeddings.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fclip.embeddings.config import EmbedConfig
from fclip.embeddings.store import EmbeddedRows, write_embeddings
from fclip.errors import UserError
from fclip.features.embeddings import embed
from fclip.files import atomic_dir, sha256_json, sha256_tree
from fclip.images.packs import ImagePacks
from fclip.models.folder import read_config
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion
from tasks.workspace.process import run_stage
from tasks.workspace.weights import find_model

logger = logging.getLogger(__name__)


def main(workspace: Workspace) -> None:
    """Embed the products of data/training/products.parquet.

    Raises:
        UserError: the products or the model are missing, or the embeddings are not finite.
    """
    pin = read_champion(workspace)
    if not pin and not workspace.selected.is_dir():
        raise UserError(f"no champion is pinned and {workspace.selected} is missing; run `dvc repro select`")
    digest = pin.model_sha256 if pin else sha256_tree(workspace.selected)
    embed_catalog(workspace, find_model(workspace, digest, pin), digest, workspace.embeddings)


def embed_catalog(workspace: Workspace, model: Path, model_sha256: str, target: Path) -> None:
    """Embed the products of data/training/products.parquet with the model in a folder, and write the folder `target`.

    Raises:
        UserError: the products are missing or have no captions, or the embeddings are not finite.
    """
    config = load_section(workspace, "embed", EmbedConfig)
    table = workspace.training / "products.parquet"
    if not table.is_file():
        raise UserError(f"{table} is missing; run `dvc pull` or `dvc repro gather`")
    products = pq.ParquetFile(table).read().to_pylist()
    images = [(row["dataset"], row["product_id"], sha256) for row in products for sha256 in row["images"]]
    texts = [
        (row["dataset"], row["product_id"], *caption) for row in products if (caption := _caption(row, config.text))
    ]
    if not texts:
        raise UserError("no product of the training datasets has a caption; check caption.datasets in params.yaml")
    embedded = embed(
        model,
        model_sha256,
        packs=ImagePacks([workspace.images(name) for name in sorted({dataset for dataset, _, _ in images})]),
        images=[sha256 for _, _, sha256 in images],
        texts=[text for *_, text in texts],
        kept=workspace.kept_embeddings,
        cache=workspace.feature_cache,
        device=config.device,
        batch_size=config.batch_size,
    )
    with atomic_dir(target) as temporary:
        write_embeddings(
            temporary,
            model_sha256=model_sha256,
            images=EmbeddedRows(_columns(images, ("dataset", "product_id", "image_sha256")), embedded.images),
            texts=EmbeddedRows(_columns(texts, ("dataset", "product_id", "kind", "text")), embedded.texts),
            manifest={
                "num_products": len(products),
                "num_images": len(images),
                "num_texts": len(texts),
                "dim": embedded.images.shape[1],
                "config_sha256": sha256_json(read_config(model)),
                "text": config.text,
            },
        )
    logger.info(
        "Embedded %d products with model %s: encoded %d images and texts, read %d from the cache",
        len(products),
        model_sha256[:12],
        embedded.num_encoded,
        embedded.num_kept,
    )


def _caption(product: dict[str, Any], kind: str) -> tuple[str, str] | None:
    """Return (kind, text) of the caption of this kind, else of the first caption; None without captions."""
    captions = sorted(product["captions"], key=lambda caption: bool(caption["kind"] != kind))
    return (captions[0]["kind"], captions[0]["text"]) if captions else None


def _columns(rows: Sequence[tuple[str, ...]], names: tuple[str, ...]) -> dict[str, list[str]]:
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


if __name__ == "__main__":
    run_stage("embed", main)
