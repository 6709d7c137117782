"""Training data: products with their images and captions, and the image and text that each pass takes of them."""

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
from fclip.training.sampling import choose, group_by_category, order, sample
from fclip.training.seen_rows import OLD

logger = logging.getLogger(__name__)

VALIDATION_SEED = 0
"""Fixed: batches of the validation split are the same whatever the run's seed, so that losses compare."""


@dataclass(frozen=True)
class Item:
    """One product: digests of its images, its captions of each wanted kind (at least one), and its category.

    old: the model that is tuned was trained on it, just so, before (`fclip.training.seen_rows`).
    """

    product_id: str
    images: tuple[str, ...]
    captions: Mapping[str, tuple[str, ...]]
    category: str | None = None
    old: bool = False


@dataclass(frozen=True)
class Pass:
    """One pass over the items, in the order in which they are seen.

    Attributes:
        items: which item each of the n rows is of.
        images: n digests.
        texts: n rows of one text a field, None where an item lacks the field.
    """

    items: tuple[int, ...]
    images: tuple[str, ...]
    texts: tuple[tuple[str | None, ...], ...]

    @property
    def all_texts(self) -> set[str]:
        """Every text in it."""
        return {text for row in self.texts for text in row if text is not None}


@dataclass(frozen=True)
class NumberedPasses:
    """Passes over products with numbers for images and texts, in the order in which they are seen.

    Attributes:
        items, images: int64 [passes, n].
        texts: int64 [passes, n, fields], −1 where a product lacks a field.
    """

    items: NDArray[np.int64]
    images: NDArray[np.int64]
    texts: NDArray[np.int64]


def number_passes(passes: Sequence[Pass], digests: Sequence[str], texts: Sequence[str]) -> NumberedPasses:
    """`passes`, all of one length, with the position in `digests` of each image and in `texts` of each text."""
    of_digest = {digest: row for row, digest in enumerate(digests)}
    of_text: dict[str | None, int] = {text: row for row, text in enumerate(texts)}
    of_text[None] = -1
    return NumberedPasses(
        items=np.array([one.items for one in passes], np.int64),
        images=np.array([[of_digest[digest] for digest in one.images] for one in passes], np.int64),
        texts=np.array([[[of_text[text] for text in row] for row in one.texts] for one in passes], np.int64),
    )


def read_items(path: Path, split: str, kinds: Collection[str]) -> list[Item]:
    """The split's products that have an image and a caption of one of `kinds`, sorted by dataset and product id.

    Those that lack either are counted in the log.

    Args:
        path: Parquet of `dataset, product_id, split, images, captions, category`, and perhaps `old`.

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
            f"{without_caption} no caption of the kinds in finetune ({', '.join(sorted(kinds))}): "
            "add a kind there that the section caption makes"
        )
    return kept


def training_pass(items: Sequence[Item], config: FinetuneConfig, *, seed: int, epoch: int) -> Pass:
    """Every item once, in an order of the pass's own, with one of its images and its text or texts drawn.

    A text is one caption, its kind drawn by `config.captions` among those that the item has; with
    `config.objective.fields` there is one of each of these kinds. With `config.replay` only some of the old items are
    in it.
    """
    numbers = list(range(len(items)))
    if config.replay is not None:
        numbers = _replayed(items, config.replay.share, seed=seed, epoch=epoch)
        items = [items[number] for number in numbers]
    fields = config.objective.fields
    if fields is None:
        kinds = [list(item.captions) for item in items]
        drawn = choose(seed, "captions", epoch, [[config.captions[kind] for kind in own] for own in kinds])
        wanted = [[own[kind]] for own, kind in zip(kinds, drawn, strict=True)]
    else:
        wanted = [sorted(config.kinds)] * len(items)
    captions = [[item.captions.get(kind, ()) for kind in own] for item, own in zip(items, wanted, strict=True)]
    texts = [_drawn([own[field] for own in captions], seed, epoch, field) for field in range(len(wanted[0]))]
    images = choose(seed, "images", epoch, [[1.0] * len(item.images) for item in items])
    places = order(seed, epoch, len(items))
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


def _drawn(captions: Sequence[tuple[str, ...]], seed: int, epoch: int, field: int) -> list[str | None]:
    what = "captions of a kind" if not field else f"captions of field {field}"
    chosen = choose(seed, what, epoch, [[1.0] * max(1, len(own)) for own in captions])
    return [own[number] if own else None for own, number in zip(captions, chosen, strict=True)]


def validation_pass(items: Sequence[Item], config: FinetuneConfig) -> Pass:
    """Every item once, in a fixed order, with its primary image and the first caption of its most frequent kind.

    With fields: the first caption of each.
    """
    ranked = sorted(config.kinds, key=lambda kind: (-config.captions.get(kind, 0.0), kind))
    places = order(VALIDATION_SEED, 0, len(items))

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
    """The share of rows whose texts another row of the same full batch has too."""
    whole = len(texts) // batch_size * batch_size
    repeated = 0
    for begin in range(0, whole, batch_size):
        counts = Counter(texts[begin : begin + batch_size])
        repeated += sum(count for count in counts.values() if count > 1)
    return repeated / whole if whole else 0.0


def _replayed(items: Sequence[Item], share: float, *, seed: int, epoch: int) -> list[int]:
    """All new items, and so many old ones, drawn for the pass, that these are `share` of it; all where none is new."""
    new = [number for number, item in enumerate(items) if not item.old]
    old = [number for number, item in enumerate(items) if item.old]
    if not new:
        return old
    count = min(len(old), round(len(new) * share / (1 - share)))
    return new + [old[place] for place in sample(seed, "replay", epoch, len(old), count)]


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
