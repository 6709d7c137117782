"""The registry of protocols. Each protocol is one module of this package with a config, a task and a declaration.

Params, primary metrics, reports and the terminal read the declarations. A module imports heavy libraries such as torch
only inside functions, because the parsing of params imports all modules.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from fclip.evaluation.catalog import Catalog
from fclip.evaluation.metrics import Metric
from fclip.evaluation.protocols.task import EvaluationTask
from fclip.extensions import collect_declarations


class ProtocolConfig(Protocol):
    """The config of a protocol in params: a dataclass made by `fclip.config.config` with a `Literal` as its `kind`."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class ProtocolDeclaration:
    """One kind of protocol.

    Attributes:
        kind: the name of the kind in params.
        label: a short name for reports.
        description: one sentence.
        config: the class of the config.
        make_task: a function from (config, catalog, split, max_items) to the task on the split, with at most
            `max_items` products; None if the protocol does not apply to the split. It raises UserError if the split
            has no usable items.
        metrics: all metrics that its tasks can give. A task that sets `TaskOutcome.search_results` gives `mrr`. The
            `success` of a `MeanOutcome` is one of its metrics.
        primaries: names of the metrics that can be a dataset's primary metric. Higher must be better.
        headlines: names of the metrics that the terminal shows by default. If one metric represents the protocol, it is
            the first of these that was measured.
        summary: names of the metrics in the summary of a run, if the dataset's primary metric is of this protocol.
        is_always_in_summary: whether `summary` is shown for every primary metric.
        parts: parts of the outcome, such as `text_to_image`, named between the protocol and the metric; ("",): one
            outcome without parts.
        reads_captions: a function from a config to whether it needs the products' captions.
    """

    kind: str
    label: str
    description: str
    config: type[ProtocolConfig]
    make_task: Callable[[Any, Catalog, str, int | None], EvaluationTask | None]
    metrics: tuple[Metric, ...]
    primaries: tuple[str, ...] = ()
    headlines: tuple[str, ...] = ()
    summary: tuple[str, ...] = ()
    is_always_in_summary: bool = False
    parts: tuple[str, ...] = ("",)
    reads_captions: Callable[[Any], bool] = lambda config: False

    def __post_init__(self) -> None:
        directions = {metric.name: metric.direction for metric in self.metrics}
        assert set(self.primaries) | set(self.headlines) | set(self.summary) <= set(directions), self.kind
        assert all(directions[name] == 1 for name in self.primaries), self.kind

    @property
    def knows_answers(self) -> bool:
        """Whether the protocol knows correct answers, so that a change in a metric is a gain or a loss."""
        return any(metric.direction for metric in self.metrics)

    @property
    def primary_names(self) -> tuple[str, ...]:
        """The names that may follow `<protocol>.` in a dataset's `primary`."""
        return tuple(f"{part}.{name}" if part else name for part in self.parts for name in self.primaries)


def protocols() -> Mapping[str, ProtocolDeclaration]:
    """All protocols by kind."""
    return collect_declarations("fclip.evaluation.protocols", ProtocolDeclaration)


@cache
def _metrics() -> dict[str, Metric]:
    metrics: dict[str, Metric] = {}
    for declaration in protocols().values():
        for metric in declaration.metrics:
            assert metrics.setdefault(metric.name, metric) == metric, f"{metric.name} has two meanings"
    return metrics


def direction(metric: str) -> int:
    """Return 1 if higher values of a metric are better, -1 if lower values are better, 0 if neither is.

    Args:
        metric: the name, with or without its protocol: `acc1`, `classification.acc1`.
    """
    return _metrics()[metric.rpartition(".")[2]].direction


def metric_label(metric: str, *, short: bool = False) -> str:
    """Return the label of a metric: `classification.acc1` -> `accuracy`, `probe.acc1` -> `probe: accuracy`.

    Args:
        metric: `<protocol>.<metric>` or `<protocol>.<part>.<metric>`.
        short: whether to shorten it for a narrow column: `text→image R@10`, not `text to image recall at 10`.
    """
    protocol, *parts, name = metric.split(".")
    declared_metric = _metrics()[name]
    words = [part.replace("_to_", "→") if short else part.replace("_", " ") for part in parts]
    prefix = "" if protocol in ("classification", "retrieval") else f"{protocol.replace('_', ' ')}: "
    return prefix + " ".join([*words, (declared_metric.short if short else "") or declared_metric.label])


def held_label(name: str) -> str:
    """Return the label of a metric that selection holds in domain: a dataset, or `<dataset>.<metric>`."""
    dataset, _, metric = name.partition(".")
    return f"{dataset}, {metric_label(metric, short=True)}" if metric else dataset
