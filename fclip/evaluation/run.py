"""Evaluate models on one dataset: every protocol in its config, on every split that selects or reports.

Images are decoded once for all models and encoded once per model (the feature cache); protocols share the features.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate, difference, estimates
from fclip.evaluation.classification import class_embeddings, classify, prompts
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.metrics import Outcome
from fclip.evaluation.retrieval import retrieve
from fclip.features.encode import FloatArray
from fclip.features.extract import extract_features
from fclip.images.packs import ImagePacks

logger = logging.getLogger(__name__)
EVALUATED_ROLES = ("select", "report")


@dataclass(frozen=True)
class DatasetFiles:
    """Where a dataset lies: `products.parquet`, its captions, its packs; and the role of each of its splits."""

    name: str
    products: Path
    captions: Path
    images: Path
    roles: Mapping[str, str]


@dataclass(frozen=True)
class RunOptions:
    """How to run: device name, rows a batch, bootstrap resamples, confidence of intervals, seed."""

    device: str
    batch_size: int
    resamples: int
    confidence: float
    seed: int


@dataclass(frozen=True)
class Scored:
    """One metric of one model on one split; `metric` is `<protocol>.<metric>`."""

    model: str
    model_sha256: str
    split: str
    role: str
    protocol: str
    metric: str
    estimate: Estimate
    num_items: int
    primary: bool


@dataclass(frozen=True)
class Evaluation:
    """All metrics of all models on one dataset, and the outcomes they came from, for paired comparisons.

    num_nonfinite: for each model, how many images or texts it gave features that are not finite.
    """

    dataset: str
    primary: str
    scores: tuple[Scored, ...]
    outcomes: Mapping[tuple[str, str, str], Outcome]  # (model, split, protocol)
    num_nonfinite: Mapping[str, int]
    options: RunOptions

    def score(self, model: str, split: str) -> Scored:
        """The primary metric of a model on a split."""
        return next(entry for entry in self.scores if (entry.model, entry.split, entry.primary) == (model, split, True))

    def compare(self, first: str, second: str, split: str) -> Estimate:
        """second − first on the primary metric of a split: paired bootstrap over its items."""
        protocol, metric = self.primary.split(".")
        pair = [self.outcomes[model, split, protocol] for model in (first, second)]
        options = self.options
        return difference(metric, *pair, resamples=options.resamples, confidence=options.confidence, seed=options.seed)


def evaluate_models(
    models: Mapping[str, Path],
    files: DatasetFiles,
    config: DatasetEvaluation,
    *,
    cache: Path,
    options: RunOptions,
    roles: Sequence[str] = EVALUATED_ROLES,
) -> Evaluation:
    """Evaluate each of `models` (name -> model folder) on the splits of the dataset that have one of `roles`.

    A model whose features are not finite is never right, which is counted; it stops nothing.

    Raises:
        UserError: the dataset has no such split, a split has no item to judge by, or a model cannot be loaded.
    """
    splits = {split: role for split, role in files.roles.items() if role in roles}
    if not splits:
        raise UserError(f"{files.name}: no split has the role {' or '.join(roles)}: give one in ingest.datasets")
    items = _read_items(files, config, splits)
    encoded = extract_features(
        models,
        packs=ImagePacks([files.images]),
        digests=[digest for split in splits for digest in items[split].digests],
        texts=[text for split in splits for text in items[split].all_texts],
        cache=cache,
        device=options.device,
        batch_size=options.batch_size,
    )
    outcomes: dict[tuple[str, str, str], Outcome] = {}
    scores: list[Scored] = []
    for name, features in encoded.items():
        first_image = first_text = 0
        for split, role in splits.items():
            here = items[split]
            images = features.images[first_image : (first_image := first_image + len(here.digests))]
            texts = features.texts[first_text : (first_text := first_text + len(here.all_texts))]
            for protocol, outcome in _protocols(here, images, texts, config):
                outcomes[name, split, protocol] = outcome
                scores += _scored(name, features.model_sha256, split, role, protocol, outcome, config, options)
    num_nonfinite = {
        name: int(sum((~np.isfinite(rows)).any(axis=1).sum() for rows in (features.images, features.texts)))
        for name, features in encoded.items()
    }
    _log(files.name, scores, num_nonfinite)
    return Evaluation(files.name, config.primary, tuple(scores), outcomes, num_nonfinite, options)


def _scored(
    model: str,
    model_sha256: str,
    split: str,
    role: str,
    protocol: str,
    outcome: Outcome,
    config: DatasetEvaluation,
    options: RunOptions,
) -> list[Scored]:
    found = estimates(outcome, resamples=options.resamples, confidence=options.confidence, seed=options.seed)
    return [
        Scored(
            model,
            model_sha256,
            split,
            role,
            protocol,
            metric,
            estimate,
            outcome.num_items,
            primary=f"{protocol}.{metric}" == config.primary,
        )
        for metric, estimate in found.items()
    ]


@dataclass(frozen=True)
class _Items:
    """The items of a split: images to classify with their labels, images to retrieve with their texts."""

    classes: tuple[str, ...]
    classified: tuple[str, ...]
    labels: tuple[int, ...]
    retrieved: tuple[str, ...]
    texts: tuple[str, ...]  # distinct
    text_of: tuple[int, ...]

    prompts: tuple[str, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        return self.classified + self.retrieved

    @property
    def all_texts(self) -> tuple[str, ...]:
        return self.prompts + self.texts


def _protocols(
    items: _Items, images: FloatArray, texts: FloatArray, config: DatasetEvaluation
) -> Iterable[tuple[str, Outcome]]:
    if config.classification:
        embeddings = class_embeddings(texts[: len(items.prompts)], len(items.classes))
        yield "classification", classify(images[: len(items.classified)], embeddings, items.labels)
    if config.retrieval:
        yield from retrieve(images[len(items.classified) :], texts[len(items.prompts) :], items.text_of).items()


def _read_items(files: DatasetFiles, config: DatasetEvaluation, splits: Mapping[str, str]) -> dict[str, _Items]:
    products = pq.read_table(files.products, columns=["product_id", "split", "attributes", "images"]).to_pylist()
    captions = _captions(files, config)
    classes: tuple[str, ...] = ()
    if config.classification:
        label = config.classification.label
        classes = tuple(sorted({value for row in products if (value := dict(row["attributes"]).get(label))}))
        if not classes:
            known = sorted({name for row in products for name, _ in row["attributes"]})
            raise UserError(
                f"params.yaml: evaluate.datasets.{files.name}.classification.label: no product has the attribute "
                f"`{label}`; there are {', '.join(known) or 'none'}"
            )
    found = {}
    for split in splits:
        rows = _sampled([row for row in products if row["split"] == split], config.max_items)
        found[split] = _items(rows, classes, config, captions)
        here = found[split]
        if (config.classification and not here.classified) or (config.retrieval and not here.retrieved):
            raise UserError(
                f"{files.name}: the split {split} has no product to evaluate by: enlarge it, or its captions"
            )
    return found


def _items(
    rows: list[dict[str, Any]], classes: tuple[str, ...], config: DatasetEvaluation, captions: Mapping[str, str]
) -> _Items:
    index = {name: number for number, name in enumerate(classes)}
    classified, labels = [], []
    if config.classification:
        for row in rows:
            value = dict(row["attributes"]).get(config.classification.label)
            if value:
                classified.append(row["images"][0])
                labels.append(index[value])
    retrieved = [(row["images"][0], captions[row["product_id"]]) for row in rows if row["product_id"] in captions]
    texts = tuple(dict.fromkeys(text for _, text in retrieved))
    number = {text: position for position, text in enumerate(texts)}
    return _Items(
        classes,
        tuple(classified),
        tuple(labels),
        tuple(digest for digest, _ in retrieved),
        texts,
        tuple(number[text] for _, text in retrieved),
        tuple(prompts(classes, config.classification)) if config.classification else (),
    )


def _captions(files: DatasetFiles, config: DatasetEvaluation) -> dict[str, str]:
    """product_id -> its caption of the kind that retrieval asks for."""
    if config.retrieval is None:
        return {}
    table = pq.read_table(files.captions, columns=["product_id", "captions"])
    return {
        row["product_id"]: caption["text"]
        for row in table.to_pylist()
        for caption in row["captions"]
        if caption["kind"] == config.retrieval.caption
    }


def _sampled(rows: list[dict[str, Any]], max_items: int | None) -> list[dict[str, Any]]:
    """At most `max_items` products, by a hash of their id: the same ones whatever else the catalog holds."""
    ordered = sorted(rows, key=lambda row: hashlib.sha256(f"evaluate {row['product_id']}".encode()).digest())
    return sorted(ordered[:max_items], key=lambda row: str(row["product_id"]))


def _log(dataset: str, scores: list[Scored], num_nonfinite: Mapping[str, int]) -> None:
    for model, broken in num_nonfinite.items():
        said = ", ".join(
            f"{entry.split} {entry.protocol}.{entry.metric} {entry.estimate.value:.3f} (n={entry.num_items})"
            for entry in scores
            if entry.model == model and entry.primary
        )
        logger.info("%s: %s: %s", dataset, model, said)
        if broken:
            logger.warning("%s: %s gave %d features that are not finite: counted as wrong", dataset, model, broken)
