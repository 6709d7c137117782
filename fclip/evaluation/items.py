"""What of a dataset is judged: the images, labels and captions of a fixed sample of each split."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.evaluation.classification import prompts
from fclip.evaluation.config import ClassificationConfig, DatasetEvaluation
from fclip.files import sha256_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetFiles:
    """Where a dataset lies: `products.parquet`, its captions, its packs; and the role of each of its splits."""

    name: str
    products: Path
    captions: Path
    images: Path
    roles: Mapping[str, str]


@dataclass(frozen=True)
class Items:
    """The items of a split: images to classify with their labels, images to retrieve with their texts.

    Attributes:
        classes: every value of the label in the whole catalog, sorted; `labels` count in it.
        classified, labels: image digest and class of each product that has the label.
        retrieved, text_of: image digest of each product that has the caption, and which of `texts` it is.
        texts: distinct captions.
        prompts: the texts of each class.
    """

    classes: tuple[str, ...]
    classified: tuple[str, ...]
    labels: tuple[int, ...]
    retrieved: tuple[str, ...]
    texts: tuple[str, ...]
    text_of: tuple[int, ...]
    prompts: tuple[tuple[str, ...], ...]

    @property
    def digests(self) -> tuple[str, ...]:
        """Images of both protocols, the classified first."""
        return self.classified + self.retrieved

    @property
    def all_texts(self) -> tuple[str, ...]:
        """Texts of both protocols, the prompts first."""
        return tuple(text for own in self.prompts for text in own) + self.texts


def read_items(files: DatasetFiles, config: DatasetEvaluation, splits: Sequence[str]) -> dict[str, Items]:
    """The items of each of `splits`, in order of their product ids; products left out are counted in the log.

    Raises:
        UserError: the dataset lacks a file or the label, or a split has nothing to judge by.
    """
    products = _rows(files.products, ["product_id", "split", "attributes", "images"], f"ingest@{files.name}")
    captions = _captions(files, config)
    classes = _classes(files.name, products, config.classification) if config.classification else ()
    found = {}
    for split in splits:
        rows = _sampled([row for row in products if row["split"] == split], config.max_items)
        found[split] = _items(rows, classes, config, captions)
        for protocol, judged, lacking in (
            ("classification", found[split].classified, config.classification and config.classification.label),
            ("retrieval", found[split].retrieved, config.retrieval and f"caption `{config.retrieval.caption}`"),
        ):
            if lacking is None:
                continue
            if not judged:
                raise UserError(
                    f"{files.name}: none of the {len(rows)} products of the split {split} has a {lacking} to judge "
                    f"{protocol} by: give the split more products, or set evaluate.datasets.{files.name}.{protocol} to "
                    "null in params.yaml"
                )
            if len(judged) < len(rows):
                logger.info(
                    "%s: %s: %d of %d products have no %s and are left out of %s",
                    *(files.name, split, len(rows) - len(judged), len(rows), lacking, protocol),
                )
    return found


def _items(
    rows: list[dict[str, Any]], classes: tuple[str, ...], config: DatasetEvaluation, captions: Mapping[str, str]
) -> Items:
    index = {name: number for number, name in enumerate(classes)}
    label = config.classification.label if config.classification else ""
    labelled = [(row["images"][0], index[value]) for row in rows if (value := dict(row["attributes"]).get(label))]
    retrieved = [(row["images"][0], captions[row["product_id"]]) for row in rows if row["product_id"] in captions]
    texts = tuple(dict.fromkeys(text for _, text in retrieved))
    number = {text: position for position, text in enumerate(texts)}
    return Items(
        classes=classes,
        classified=tuple(digest for digest, _ in labelled),
        labels=tuple(value for _, value in labelled),
        retrieved=tuple(digest for digest, _ in retrieved),
        texts=texts,
        text_of=tuple(number[text] for _, text in retrieved),
        prompts=tuple(prompts(classes, config.classification)) if config.classification else (),
    )


def _classes(dataset: str, products: list[dict[str, Any]], config: ClassificationConfig) -> tuple[str, ...]:
    attributes = [dict(row["attributes"]) for row in products]
    classes = tuple(sorted({value for row in attributes if (value := row.get(config.label))}))
    if not classes:
        known = ", ".join(sorted({name for row in attributes for name in row})) or "none"
        raise UserError(
            f"params.yaml: evaluate.datasets.{dataset}.classification.label: no product has the attribute "
            f"`{config.label}`; there are {known}"
        )
    if unused := sorted(set(config.wordings) - set(classes)):
        logger.warning("%s: wordings of no class: %s (classes: %s)", dataset, ", ".join(unused), ", ".join(classes))
    return classes


def _captions(files: DatasetFiles, config: DatasetEvaluation) -> dict[str, str]:
    """product_id -> its first caption of the kind that retrieval asks for."""
    if config.retrieval is None:
        return {}
    found: dict[str, str] = {}
    for row in _rows(files.captions, ["product_id", "captions"], f"caption@{files.name}"):
        for caption in row["captions"]:
            if caption["kind"] == config.retrieval.caption:
                found.setdefault(row["product_id"], caption["text"])
    return found


def _sampled(rows: list[dict[str, Any]], max_items: int | None) -> list[dict[str, Any]]:
    """At most `max_items` products, by a hash of their id: chosen by what they are and not by how they are ordered."""
    ordered = sorted(rows, key=lambda row: sha256_bytes(f"evaluate {row['product_id']}".encode()))
    return sorted(ordered[:max_items], key=lambda row: str(row["product_id"]))


def _rows(path: Path, columns: list[str], stage: str) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `dvc pull`, or `dvc repro {stage}`") from None
    return rows
