"""Evaluate models on one dataset: every protocol in its config, on every split that selects or reports.

Images are decoded once for all models and encoded once per model (the feature cache); protocols share the features.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate, difference, estimates
from fclip.evaluation.classification import class_embeddings, classify
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.items import DatasetFiles, Items, read_items
from fclip.evaluation.metrics import Outcome
from fclip.evaluation.retrieval import retrieve
from fclip.features.encode import FloatArray
from fclip.features.extract import extract_features
from fclip.images.packs import ImagePacks

logger = logging.getLogger(__name__)
EVALUATED_ROLES = ("select", "report")


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
    """One metric of a protocol, of one model on one split."""

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
    items = read_items(files, config, tuple(splits))
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


def _protocols(
    items: Items, images: FloatArray, texts: FloatArray, config: DatasetEvaluation
) -> Iterable[tuple[str, Outcome]]:
    num_prompts = [len(own) for own in items.prompts]
    if config.classification:
        embeddings = class_embeddings(texts[: sum(num_prompts)], num_prompts)
        yield "classification", classify(images[: len(items.classified)], embeddings, items.labels)
    if config.retrieval:
        yield from retrieve(images[len(items.classified) :], texts[sum(num_prompts) :], items.text_of).items()


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
