"""What an exported or stored model is checked against: products of the workspace, and the pipeline's embeddings."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.export.parity import NUM_DRAWN, ParityInputs, drawn_inputs
from fclip.features.extract import extract_features
from fclip.features.similarity import unit
from fclip.images.packs import ImagePacks
from fclip.registry.verify import ReferenceEmbeddings
from fclip.sample.products import ARTICLE_TYPES
from tasks.workspace.paths import Workspace

NUM_REFERENCES = 32


def parity_inputs(workspace: Workspace) -> ParityInputs:
    """Return up to 256 products of the workspace; drawn products if it has none yet."""
    products = _products(workspace, NUM_DRAWN)
    if not products:
        return drawn_inputs()
    packs = _packs(workspace, products)
    return ParityInputs(
        images=packs.read_many([product["images"][0] for product in products]),
        texts=[product["captions"][0]["text"] for product in products],
        class_names=list(ARTICLE_TYPES),
    )


def reference_embeddings(workspace: Workspace, folder: Path) -> ReferenceEmbeddings:
    """Return the pipeline's embeddings of 32 products by the model in `folder`, with the cached features.

    Raises:
        UserError: the workspace has no products with an image and a caption.
    """
    products = _products(workspace, NUM_REFERENCES)
    if not products:
        raise UserError(f"{workspace.training} has no products with captions; run `dvc pull` or `dvc repro gather`")
    packs = _packs(workspace, products)
    digests = [product["images"][0] for product in products]
    texts = [product["captions"][0]["text"] for product in products]
    (features,) = extract_features(
        {"model": folder}, packs=packs, digests=digests, texts=texts, cache=workspace.feature_cache, device="cpu"
    ).values()
    return ReferenceEmbeddings(
        tuple(packs.read_many(digests)), tuple(texts), unit(features.images), unit(features.texts)
    )


def _products(workspace: Workspace, number: int) -> list[dict[str, Any]]:
    """Return products with an image and a caption, of validation first, because their features are cached."""
    table = workspace.training / "products.parquet"
    if not table.is_file():
        return []
    products = pq.read_table(table, columns=["dataset", "split", "images", "captions"])
    is_usable = pc.and_(*(pc.greater(pc.list_value_length(products[name]), 0) for name in ("images", "captions")))
    usable = products.filter(is_usable)
    is_validation = pc.equal(usable["split"], "val")
    ordered = pa.concat_tables([usable.filter(is_validation), usable.filter(pc.invert(is_validation))])
    return list(ordered.slice(0, number).to_pylist())


def _packs(workspace: Workspace, products: list[dict[str, Any]]) -> ImagePacks:
    return ImagePacks([workspace.images(name) for name in sorted({product["dataset"] for product in products})])
