"""Training data: products with their images and captions, and the pairs that each pass over the data samples."""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.training.config import FinetuneConfig
from fclip.training.sampling import choose_alternatives, group_by_category, sample_items, shuffled_order
from fclip.training.seen_rows import OLD

logger = logging.getLogger(__name__)

VALIDATION_SEED = 0
"""Fixed, so that validation batches do not depend on the run's seed and losses of different runs are comparable."""


@dataclass(frozen=True)
class Item:
    """One product.

    Attributes:
        images: digests of its images.
        captions: its captions by kind, at least one.
        old: whether the base model was trained on the same images and captions (`fclip.training.seen_rows`).
    """

    product_id: str
    images: tuple[str, ...]
    captions: Mapping[str, tuple[str, ...]]
    category: str | None = None
    old: bool = False


@dataclass(frozen=True)
class Pass:
    """One pass over the items, as n rows in training order.

    Attributes:
        items: the index of each row's item.
        images: the digest of each row's image.
        texts: each row's texts: one per field, None if the item lacks the field; or `captions_per_image` captions.
    """

    items: tuple[int, ...]
    images: tuple[str, ...]
    texts: tuple[tuple[str | None, ...], ...]

    @property
    def all_texts(self) -> set[str]:
        """The distinct texts of the pass."""
        return {text for row in self.texts for text in row if text is not None}


@dataclass(frozen=True)
class NumberedPasses:
    """Passes with images and texts replaced by their indices.

    Attributes:
        items, images: int64 [passes, n].
        texts: int64 [passes, n, fields or captions], −1 where an item lacks a field.
    """

    items: NDArray[np.int64]
    images: NDArray[np.int64]
    texts: NDArray[np.int64]


def number_passes(passes: Sequence[Pass], digests: Sequence[str], texts: Sequence[str]) -> NumberedPasses:
    """Replace each image by its index in `digests` and each text by its index in `texts`; passes have equal lengths."""
    digest_index = {digest: row for row, digest in enumerate(digests)}
    text_index: dict[str | None, int] = {text: row for row, text in enumerate(texts)}
    text_index[None] = -1
    return NumberedPasses(
        items=np.array([each.items for each in passes], np.int64),
        images=np.array([[digest_index[digest] for digest in each.images] for each in passes], np.int64),
        texts=np.array([[[text_index[text] for text in row] for row in each.texts] for each in passes], np.int64),
    )


def read_items(path: Path, split: str, kinds: Collection[str]) -> list[Item]:
    """Return the split's products with an image and a caption of one of `kinds`, sorted by dataset and product id.

    The number of products without either is logged.

    Args:
        path: Parquet with the columns `dataset, product_id, split, images, captions, category` and optionally `old`.
        kinds: kinds of captions.

    Raises:
        UserError: the file is missing, or no product of the split can be used.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc pull` or `dvc repro gather`")
    table = pq.read_table(path)
    table = table.filter(pc.equal(table["split"], split)).sort_by(
        [("dataset", "ascending"), ("product_id", "ascending")]
    )
    if not table.num_rows:
        raise UserError(
            f"{path}: the training datasets have no product in the split `{split}`; set a share for `{split}` in "
            "ingest.datasets.<dataset>.split, or check that products were ingested"
        )
    items = [_item(row, kinds) for row in _rows(table)]
    kept = [item for item in items if item.images and item.captions]
    without_image = sum(not item.images for item in items)
    without_caption = sum(bool(item.images) and not item.captions for item in items)
    logger.info(
        "Split %s: %d products (excluded: %d without an image, %d without a caption)",
        split,
        len(kept),
        without_image,
        without_caption,
    )
    if not kept:
        raise UserError(
            f"none of the {len(items)} products of the split `{split}` can be used: {without_image} have no image, "
            f"{without_caption} have no caption of the kinds in finetune ({', '.join(sorted(kinds))}); "
            "add a kind there that the stage caption generates"
        )
    return kept


def training_pass(items: Sequence[Item], config: FinetuneConfig, *, seed: int, epoch: int) -> Pass:
    """Return a pass with each item once, in shuffled order, with one sampled image and one sampled text per field.

    Without `config.objective.fields`, a row has `captions_per_image` captions, whose kinds are sampled by the weights
    `config.captions` among the kinds that the item has, each kind once before one is repeated. With fields, a row has
    one caption of each field's kind. With `config.replay`, the pass contains only a part of the old items.
    """
    indices = list(range(len(items)))
    if config.replay is not None:
        indices = _sample_replay(items, config.replay.share, seed=seed, epoch=epoch)
        items = [items[index] for index in indices]
    fields = config.objective.fields
    wanted = _sample_kinds(items, config, seed, epoch) if fields is None else [sorted(config.kinds)] * len(items)
    captions = [
        [item.captions.get(kind, ()) for kind in item_kinds] for item, item_kinds in zip(items, wanted, strict=True)
    ]
    texts = [_sample_texts([row[field] for row in captions], seed, epoch, field) for field in range(len(wanted[0]))]
    images = choose_alternatives(seed, "images", epoch, [[1.0] * len(item.images) for item in items])
    places = shuffled_order(seed, epoch, len(items))
    if config.objective.hard_negatives:
        num_alike = round(config.objective.hard_negatives * config.batch_size)
        categories = [item.category for item in items]
        places = group_by_category(
            places, categories, batch_size=config.batch_size, num_alike=num_alike, seed=seed, epoch=epoch
        )
    return Pass(
        items=tuple(places.tolist()),
        images=tuple(items[place].images[images[place]] for place in places),
        texts=tuple(tuple(field[place] for field in texts) for place in places),
    )


def _sample_kinds(items: Sequence[Item], config: FinetuneConfig, seed: int, epoch: int) -> list[list[str]]:
    """Return `captions_per_image` kinds of captions for each item."""
    sampled: list[list[str]] = [[] for _ in items]
    for number in range(config.objective.captions_per_image):
        unused = [
            [kind for kind in item.captions if kind not in kinds] or list(item.captions)
            for item, kinds in zip(items, sampled, strict=True)
        ]
        weights = [[config.captions[kind] for kind in kinds] for kinds in unused]
        chosen = choose_alternatives(seed, f"captions {number}" if number else "captions", epoch, weights)
        for kinds, alternatives, index in zip(sampled, unused, chosen, strict=True):
            kinds.append(alternatives[index])
    return sampled


def _sample_texts(captions: Sequence[tuple[str, ...]], seed: int, epoch: int, field: int) -> list[str | None]:
    purpose = "captions of a kind" if not field else f"captions of field {field}"
    sampled = choose_alternatives(
        seed, purpose, epoch, [[1.0] * max(1, len(alternatives)) for alternatives in captions]
    )
    return [
        alternatives[index] if alternatives else None for alternatives, index in zip(captions, sampled, strict=True)
    ]


def validation_pass(items: Sequence[Item], config: FinetuneConfig) -> Pass:
    """Return a pass with each item once, in a fixed order, with its primary image.

    The text is the first caption of the item's kind with the highest weight; with fields, the first caption of each.
    """
    ranked = sorted(config.kinds, key=lambda kind: (-config.captions.get(kind, 0.0), kind))
    places = shuffled_order(VALIDATION_SEED, 0, len(items))

    def texts(item: Item) -> tuple[str | None, ...]:
        if config.objective.fields is None:
            return (next(item.captions[kind][0] for kind in ranked if kind in item.captions),)
        return tuple(item.captions[kind][0] if kind in item.captions else None for kind in sorted(config.kinds))

    return Pass(
        items=tuple(places.tolist()),
        images=tuple(items[place].images[0] for place in places),
        texts=tuple(texts(items[place]) for place in places),
    )


def repeated_fraction(texts: Sequence[tuple[str | None, ...]], batch_size: int) -> float:
    """Return the fraction of rows whose texts occur in another row of the same batch, over full batches."""
    whole = len(texts) // batch_size * batch_size
    repeated = 0
    for begin in range(0, whole, batch_size):
        counts = Counter(texts[begin : begin + batch_size])
        repeated += sum(count for count in counts.values() if count > 1)
    return repeated / whole if whole else 0.0


def _sample_replay(items: Sequence[Item], share: float, *, seed: int, epoch: int) -> list[int]:
    """Return the indices of all new items and of sampled old items, which are `share` of the pass.

    Without new items, all old items are returned.
    """
    new = [number for number, item in enumerate(items) if not item.old]
    old = [number for number, item in enumerate(items) if item.old]
    if not new:
        return old
    count = min(len(old), round(len(new) * share / (1 - share)))
    return new + [old[place] for place in sample_items(seed, "replay", epoch, len(old), count)]


def _item(row: dict[str, object], kinds: Collection[str]) -> Item:
    captions: dict[str, tuple[str, ...]] = {}
    for caption in row["captions"] or ():  # type: ignore[attr-defined]
        if caption["kind"] in kinds and caption["text"]:
            captions[caption["kind"]] = (*captions.get(caption["kind"], ()), caption["text"])
    images: tuple[str, ...] = tuple(row["images"] or ())  # type: ignore[arg-type]
    category = row["category"]
    name = None if category is None else str(category)
    return Item(str(row["product_id"]), images, captions, category=name, old=bool(row.get(OLD)))


def _rows(table: pa.Table) -> list[dict[str, object]]:
    columns = ["product_id", "images", "captions", "category", *({OLD} & set(table.column_names))]
    rows: list[dict[str, object]] = table.select(columns).to_pylist()
    return rows
