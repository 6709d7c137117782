"""Evaluate models on one dataset: every configured protocol on every split with the role select or report.

Images are decoded once for all models and encoded once per model (see the feature cache). Protocols share the features.
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
from fclip.evaluation.metrics import metric_names
from fclip.evaluation.protocols.registry import protocols
from fclip.evaluation.protocols.task import EvaluationTask, TaskOutcome
from fclip.evaluation.table import EVALUATED_ROLES
from fclip.features.extract import extract_features
from fclip.features.similarity import FloatArray
from fclip.images.packs import ImagePacks
from fclip.models.store import ModelLoader
from fclip.progress import progress, text_table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunOptions:
    """Settings of an evaluation run: device name, rows per batch, and bootstrap."""

    device: str
    batch_size: int
    resampling: Resampling


@dataclass(frozen=True)
class MetricScore:
    """The value of one metric of one model on one split.

    Attributes:
        protocol: its name in params, followed by its part if it has parts: `retrieval.text_to_image`. kind: its kind.
        primary: whether this is the dataset's primary metric. held: whether selection and the gate compare it.
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
    held: bool

    @property
    def full_metric(self) -> str:
        """`<protocol>.<metric>`."""
        return f"{self.protocol}.{self.metric}"


@dataclass(frozen=True)
class Evaluation:
    """All metrics of all models on one dataset, and the outcomes behind them for paired comparisons.

    Attributes:
        primary: the primary metric, `<protocol>.<metric>`.
        outcomes: (model, split, protocol) -> outcome of the items.
        num_nonfinite: model -> number of images and texts whose features are not finite.
    """

    dataset: str
    primary: str
    scores: tuple[MetricScore, ...]
    outcomes: Mapping[tuple[str, str, str], TaskOutcome]
    num_nonfinite: Mapping[str, int]
    options: RunOptions

    def primary_score(self, model: str, split: str) -> MetricScore:
        """Return the primary metric of a model on a split."""
        return self.held_scores(model, split)[self.primary]

    def held_scores(self, model: str, split: str) -> dict[str, MetricScore]:
        """Return the held metrics of a model on a split by `<protocol>.<metric>`, the primary metric first."""
        found = [entry for entry in self.scores if (entry.model, entry.split, entry.held) == (model, split, True)]
        return {entry.full_metric: entry for entry in sorted(found, key=lambda entry: not entry.primary)}

    def primary_table(self) -> str:
        """Return the primary metric of each model on each split as text, with the role and the items of the split."""
        primary = [entry for entry in self.scores if entry.primary]
        splits = {entry.split: f"{entry.split} ({entry.role}, n={entry.num_items})" for entry in primary}
        values = {(entry.model, entry.split): f"{entry.estimate.value:.3f}" for entry in primary}
        rows = [(model, *(values[model, split] for split in splits)) for model in self.num_nonfinite]
        return f"{self.dataset}: {self.primary}\n{text_table(('model', *splits.values()), rows)}"

    def compare(self, first: str, second: str, split: str, full_metric: str | None = None) -> Estimate:
        """Return second − first on a metric of a split, by paired bootstrap over its items.

        Args:
            full_metric: `<protocol>.<metric>`; None: the primary metric.
        """
        protocol, _, metric = (full_metric or self.primary).rpartition(".")
        return self.compare_all(first, second, split, protocol)[metric]

    def compare_all(self, first: str, second: str, split: str, protocol: str) -> dict[str, Estimate]:
        """Return second − first on every metric of a protocol, by paired bootstrap over its items."""
        pair = [self.outcomes[model, split, protocol] for model in (first, second)]
        return differences(pair[0].outcome, pair[1].outcome, pair[1].clusters, self.options.resampling)


def evaluate_models(
    models: Mapping[str, Path],
    files: DatasetFiles,
    config: DatasetEvaluation,
    *,
    cache: Path,
    options: RunOptions,
    roles: Sequence[str] = EVALUATED_ROLES,
    loader: ModelLoader | None = None,
) -> Evaluation:
    """Evaluate each of `models` (name -> model folder) on the splits of the dataset with one of `roles`.

    Features that are not finite count as wrong and are counted. They do not stop the evaluation.

    Raises:
        UserError: no split has one of the roles, a protocol cannot be applied to a split, or a model cannot be loaded.
    """
    splits = {split: role for split, role in files.roles.items() if role in roles}
    if not splits:
        raise UserError(f"{files.name}: no split has the role {' or '.join(roles)}; assign it in ingest.datasets")
    declarations = {name: protocols()[protocol.kind] for name, protocol in config.protocols.items()}
    with_captions = any(declarations[name].reads_captions(protocol) for name, protocol in config.protocols.items())
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
        loader=loader,
    )
    outcomes: dict[tuple[str, str, str], TaskOutcome] = {}
    scores: list[MetricScore] = []
    for model, features in progress(encoded.items(), label=f"Scoring on {files.name}", unit="models"):
        for split, protocol, task_outcome in score_tasks(tasks, features.images, features.texts):
            outcomes[model, split, protocol] = task_outcome
            declaration = declarations[protocol.partition(".")[0]]
            for metric, estimate in estimates(task_outcome.outcome, task_outcome.clusters, options.resampling).items():
                assert metric in metric_names(declaration.metrics), f"{declaration.kind} does not declare {metric}"
                scores.append(
                    MetricScore(
                        model,
                        features.model_sha256,
                        split,
                        splits[split],
                        protocol,
                        declaration.kind,
                        metric,
                        estimate,
                        task_outcome.outcome.num_items,
                        primary=f"{protocol}.{metric}" == config.primary,
                        held=f"{protocol}.{metric}" in config.held,
                    )
                )
    num_nonfinite = {
        name: int(sum((~np.isfinite(rows)).any(axis=1).sum() for rows in (features.images, features.texts)))
        for name, features in encoded.items()
    }
    _warn_nonfinite(files.name, num_nonfinite)
    return Evaluation(files.name, config.primary, tuple(scores), outcomes, num_nonfinite, options)


def score_tasks(
    tasks: Mapping[tuple[str, str], EvaluationTask], images: FloatArray, texts: FloatArray
) -> Iterator[tuple[str, str, TaskOutcome]]:
    """Yield (split, protocol or protocol.part, outcome) for each task.

    Args:
        tasks: by split and protocol. images, texts: features of the inputs of all tasks, in the order of the tasks.
    """
    image = text = 0
    for (split, name), task in tasks.items():
        own = images[image : (image := image + len(task.images))], texts[text : (text := text + len(task.texts))]
        for part, outcome in task.score(*own).items():
            yield split, f"{name}.{part}" if part else name, outcome


def _log_left_out(dataset: str, tasks: Mapping[tuple[str, str], EvaluationTask]) -> None:
    for (split, name), task in tasks.items():
        for reason, number in task.left_out.items():
            logger.info("%s: %s: left %d items out of %s: %s", dataset, split, number, name, reason)


def _warn_nonfinite(dataset: str, num_nonfinite: Mapping[str, int]) -> None:
    for model, num in num_nonfinite.items():
        if num:
            logger.warning("%s: %s gave %d features that are not finite; they count as wrong", dataset, model, num)
