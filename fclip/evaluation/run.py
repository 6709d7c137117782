"""Evaluate models on one dataset: every protocol in its config, on every split that selects or reports.

Images are decoded once for all models and encoded once per model (the feature cache); protocols share the features.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate, Resampling, differences, estimates
from fclip.evaluation.catalog import DatasetFiles, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.metrics import names
from fclip.evaluation.protocols.registry import protocols
from fclip.evaluation.protocols.task import EvaluationTask, TaskOutcome
from fclip.evaluation.table import EVALUATED_ROLES
from fclip.features.extract import Features, extract_features
from fclip.images.packs import ImagePacks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """How to run: device name, rows a batch, and how intervals are made."""

    device: str
    batch_size: int
    resampling: Resampling


@dataclass(frozen=True)
class Scored:
    """One metric of a protocol, of one model on one split.

    Attributes:
        protocol: its name in params, and the part of it: `retrieval.text_to_image`.
        kind: the protocol's kind.
    """

    model: str
    model_sha256: str
    split: str
    role: str
    protocol: str
    kind: str
    metric: str
    estimate: Estimate
    num_items: int
    primary: bool


@dataclass(frozen=True)
class Evaluation:
    """All metrics of all models on one dataset, and the outcomes they came from, for paired comparisons.

    Attributes:
        judged: what happened under each protocol: (model, split, protocol) -> outcome and its items.
        num_nonfinite: for each model, how many images or texts it gave features that are not finite.
    """

    dataset: str
    primary: str
    scores: tuple[Scored, ...]
    judged: Mapping[tuple[str, str, str], TaskOutcome]
    num_nonfinite: Mapping[str, int]
    options: RunOptions

    def score(self, model: str, split: str) -> Scored:
        """The primary metric of a model on a split."""
        return next(entry for entry in self.scores if (entry.model, entry.split, entry.primary) == (model, split, True))

    def compare(self, first: str, second: str, split: str) -> Estimate:
        """second − first on the primary metric of a split: paired bootstrap over its items."""
        protocol, _, metric = self.primary.rpartition(".")
        return self.compare_all(first, second, split, protocol)[metric]

    def compare_all(self, first: str, second: str, split: str, protocol: str) -> dict[str, Estimate]:
        """second − first on every metric of a protocol."""
        pair = [self.judged[model, split, protocol] for model in (first, second)]
        return differences(pair[0].outcome, pair[1].outcome, pair[1].clusters, self.options.resampling)


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
    declarations = {name: protocols()[own.kind] for name, own in config.protocols.items()}
    with_captions = any(declarations[name].reads_captions(own) for name, own in config.protocols.items())
    catalog = read_catalog(files, with_captions=with_captions)
    tasks = {
        (split, name): task
        for split in splits
        for name, protocol in config.protocols.items()
        if (task := declarations[name].make_task(protocol, catalog, split, config.max_items)) is not None
    }
    _log_left_out(files.name, tasks)
    encoded = extract_features(
        models,
        packs=ImagePacks([files.images]),
        digests=[digest for task in tasks.values() for digest in task.images],
        texts=[text for task in tasks.values() for text in task.texts],
        cache=cache,
        device=options.device,
        batch_size=options.batch_size,
    )
    happened: dict[tuple[str, str, str], TaskOutcome] = {}
    scores: list[Scored] = []
    for model, features in encoded.items():
        for split, protocol, found in _score(tasks, features):
            happened[model, split, protocol] = found
            declaration = declarations[protocol.partition(".")[0]]
            for metric, estimate in estimates(found.outcome, found.clusters, options.resampling).items():
                assert metric in names(declaration.metrics), f"{declaration.kind} does not declare {metric}"
                scores.append(
                    Scored(
                        model,
                        features.model_sha256,
                        split,
                        splits[split],
                        protocol,
                        declaration.kind,
                        metric,
                        estimate,
                        found.outcome.num_items,
                        primary=f"{protocol}.{metric}" == config.primary,
                    )
                )
    num_nonfinite = {
        name: int(sum((~np.isfinite(rows)).any(axis=1).sum() for rows in (features.images, features.texts)))
        for name, features in encoded.items()
    }
    _log(files.name, scores, num_nonfinite)
    return Evaluation(files.name, config.primary, tuple(scores), happened, num_nonfinite, options)


def _score(
    tasks: Mapping[tuple[str, str], EvaluationTask], features: Features
) -> Iterator[tuple[str, str, TaskOutcome]]:
    """(split, protocol or protocol.part, what happened), task by task in the order that features were asked for."""
    image = text = 0
    for (split, name), task in tasks.items():
        images = features.images[image : (image := image + len(task.images))]
        texts = features.texts[text : (text := text + len(task.texts))]
        for part, found in task.judge(images, texts).items():
            yield split, f"{name}.{part}" if part else name, found


def _log_left_out(dataset: str, tasks: Mapping[tuple[str, str], EvaluationTask]) -> None:
    for (split, name), task in tasks.items():
        for why, number in task.left_out.items():
            logger.info("%s: %s: %d are left out of %s: %s", dataset, split, number, name, why)


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
