"""What is trained on: products with their images and captions, and what a pass draws of them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.training.draws import choose, order

logger = logging.getLogger(__name__)

VALIDATION_SEED = 0
"""Fixed: batches of the validation split are the same whatever the run's seed, so that losses compare."""


@dataclass(frozen=True)
class Item:
    """One product: digests of its images, and its captions of each kind (only of a weight above 0; at least one)."""

    product_id: str
    images: tuple[str, ...]
    captions: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Pass:
    """The pairs of one pass over the items, in the order in which they are seen: digests and texts, aligned."""

    images: tuple[str, ...]
    texts: tuple[str, ...]


def read_items(path: Path, split: str, weights: Mapping[str, float]) -> list[Item]:
    """The split's products that have an image and a caption of a weighted kind, sorted by dataset and product id.

    Those that lack either are counted in the log.

    Args:
        path: Parquet of `dataset, product_id, split, images, captions`.
        weights: caption kinds and how often each is drawn.

    Raises:
        UserError: the file is missing, or the split has no product, or none that can be trained on.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist: run `dvc pull`, or `dvc repro gather`")
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["split"], split)).sort_by(
        [("dataset", "ascending"), ("product_id", "ascending")]
    )
    if not table.num_rows:
        raise UserError(
            f"no product of the datasets that train is in the split `{split}` ({path}): "
            f"give ingest.datasets.<dataset>.split a share of `{split}`, or check that products were ingested"
        )
    kinds = {kind for kind, weight in weights.items() if weight > 0}
    items = [_item(row, kinds) for row in _rows(table)]
    kept = [item for item in items if item.images and item.captions]
    without_image = sum(not item.images for item in items)
    without_caption = sum(bool(item.images) and not item.captions for item in items)
    logger.info(
        "%s: %d products (left out: %d without an image, %d without a caption)",
        split,
        len(kept),
        without_image,
        without_caption,
    )
    if not kept:
        raise UserError(
            f"none of the {len(items)} products of the split `{split}` can be used: {without_image} have no image, "
            f"{without_caption} no caption of the kinds in finetune.captions ({', '.join(sorted(kinds))}): "
            "add a kind there that the section caption makes"
        )
    return kept


def training_pass(items: Sequence[Item], weights: Mapping[str, float], *, seed: int, epoch: int) -> Pass:
    """Every item once, in an order of the pass's own, with one of its images and one of its captions drawn.

    A kind is drawn by its weight among those that the item has, then one of its captions, each as often as another.
    """
    kinds = [list(item.captions) for item in items]
    drawn = choose(seed, "captions", epoch, [[weights[kind] for kind in own] for own in kinds])
    captions = [item.captions[own[kind]] for item, own, kind in zip(items, kinds, drawn, strict=True)]
    texts = choose(seed, "captions of a kind", epoch, [[1.0] * len(own) for own in captions])
    images = choose(seed, "images", epoch, [[1.0] * len(item.images) for item in items])
    places = order(seed, epoch, len(items))
    return Pass(
        images=tuple(items[place].images[images[place]] for place in places),
        texts=tuple(captions[place][texts[place]] for place in places),
    )


def validation_pass(items: Sequence[Item], weights: Mapping[str, float]) -> Pass:
    """Every item once, in a fixed order, with its primary image and the first caption of its most frequent kind."""
    ranked = sorted(weights, key=lambda kind: (-weights[kind], kind))
    places = order(VALIDATION_SEED, 0, len(items))
    return Pass(
        images=tuple(items[place].images[0] for place in places),
        texts=tuple(
            next(items[place].captions[kind][0] for kind in ranked if kind in items[place].captions) for place in places
        ),
    )


def repeated_fraction(texts: Sequence[str], batch_size: int) -> float:
    """The share of pairs whose text another pair of the same full batch has too."""
    whole = len(texts) // batch_size * batch_size
    repeated = 0
    for begin in range(0, whole, batch_size):
        _, counts = np.unique(np.array(texts[begin : begin + batch_size]), return_counts=True)
        repeated += int(counts[counts > 1].sum())
    return repeated / whole if whole else 0.0


def index(values: Sequence[str], of: Mapping[str, int]) -> NDArray[np.int64]:
    """The rows of `values`."""
    return np.array([of[value] for value in values], np.int64)


def _item(row: dict[str, object], kinds: set[str]) -> Item:
    captions: dict[str, tuple[str, ...]] = {}
    for caption in row["captions"] or ():  # type: ignore[attr-defined]
        if caption["kind"] in kinds and caption["text"]:
            captions[caption["kind"]] = (*captions.get(caption["kind"], ()), caption["text"])
    return Item(str(row["product_id"]), tuple(row["images"] or ()), captions)  # type: ignore[arg-type]


def _rows(table: pa.Table) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = table.select(["product_id", "images", "captions"]).to_pylist()
    return rows
