"""The protocols. Each is one module here with its config, its task and its declaration; nothing else lists them.

Config unions, primary metrics, reports and the terminal read the declarations. An extension's module imports heavy
libraries (torch) only inside functions, since params are parsed with all of them.
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
    """What params say of a protocol: a dataclass made by `fclip.config.config`, its `kind` a `Literal`."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class ProtocolDeclaration:
    """One kind of protocol.

    Attributes:
        kind: as in params.
        label: its short name for people.
        description: one sentence.
        config: the class of its config.
        make_task: of (config, catalog, split, max_items), what it asks on that split, at most `max_items` products of
            it; None where it does not judge the split. Raises UserError where there is nothing to judge by.
        metrics: all that it may give. A task that fills `TaskOutcome.found` gives `mrr`, and a `MeanOutcome` names one of
            its own metrics as `success`.
        primaries: names of the metrics by which a dataset may select; more of them must be better.
        headlines: names of the metrics that the terminal shows unless all are asked for. Where one metric stands for
            the protocol, it is the first of these that was measured.
        summary: names of the metrics in the summary of a run, where the dataset's primary metric is of this protocol.
        is_always_in_summary: they are there whatever the primary metric is.
        parts: the parts that its tasks give outcomes of, which come between its name and a metric's; ("",): one
            outcome, without a part.
        reads_captions: whether a config of it needs the products' captions.
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
        """Whether some change of its metrics is a gain or a loss."""
        return any(metric.direction for metric in self.metrics)

    @property
    def primary_names(self) -> tuple[str, ...]:
        """What may follow `<protocol>.` in a dataset's `primary`."""
        return tuple(f"{part}.{name}" if part else name for part in self.parts for name in self.primaries)


def protocols() -> Mapping[str, ProtocolDeclaration]:
    """Every protocol by its kind."""
    return collect_declarations("fclip.evaluation.protocols", ProtocolDeclaration)


@cache
def _metrics() -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for declaration in protocols().values():
        for metric in declaration.metrics:
            assert found.setdefault(metric.name, metric) == metric, f"{metric.name} means two things"
    return found


def direction(metric: str) -> int:
    """1 where more of a metric is better, -1 where less is, 0 where no change of it is a gain or a loss.

    Args:
        metric: its name, whatever stands before it: `acc1`, `classification.acc1`.
    """
    return _metrics()[metric.rpartition(".")[2]].direction


def metric_label(metric: str, *, short: bool = False) -> str:
    """A metric's name for people: `classification.acc1` -> `accuracy`, `probe.acc1` -> `probe: accuracy`.

    Args:
        metric: `<protocol>.<metric>` or `<protocol>.<part>.<metric>`.
        short: for a narrow column: `text→image R@10` in place of `text to image recall at 10`.
    """
    protocol, *parts, name = metric.split(".")
    own = _metrics()[name]
    words = [part.replace("_to_", "→") if short else part.replace("_", " ") for part in parts]
    prefix = "" if protocol in ("classification", "retrieval") else f"{protocol.replace('_', ' ')}: "
    return prefix + " ".join([*words, (own.short if short else "") or own.label])
