"""The declaration of an audit, and the registry of all audits.

An audit plans the images and texts that it needs, and measures the features of one model of them. To add an audit,
declare an `Audit` in a new module of `fclip.audits.kinds`. It is then part of every report, model card and gate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.result import Measure
from fclip.extensions import collect_declarations


@dataclass(frozen=True)
class Findings:
    """What a plan measured of one model; the fields are those of `AuditResult`.

    Attributes:
        has_limit: whether the limit of the audit is for this headline. Another quantity that takes its place has none.
    """

    headline: Measure | None
    measures: tuple[Measure, ...]
    summary: str
    not_measured: tuple[str, ...] = ()
    has_limit: bool = True


class AuditPlan(Protocol):
    """The inputs of an audit and its measurement.

    Attributes:
        images: digests of the images to encode. texts: the texts to encode.
    """

    @property
    def images(self) -> tuple[str, ...]: ...

    @property
    def texts(self) -> tuple[str, ...]: ...

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        """Measure a model.

        Args:
            base: the features of the base model; None when the base model itself is measured.
        """
        ...


@dataclass(frozen=True)
class NotMeasurable:
    """The catalog does not have what an audit needs. `reason`: a sentence with the reason and the remedy."""

    reason: str


@dataclass(frozen=True)
class Audit:
    """An audit.

    Attributes:
        kind: its name in params.yaml. label: a few words for titles. description: one sentence without a full stop.
        question: the question that it answers, in the words of a shop's manager.
        limit: the default of the largest accepted headline.
        plan: from the data to the plan, or why the audit cannot be done.
    """

    kind: str
    label: str
    description: str
    question: str
    limit: float
    plan: Callable[[AuditData], AuditPlan | NotMeasurable]


def audits() -> Mapping[str, Audit]:
    """Return all audits by kind."""
    return collect_declarations("fclip.audits.kinds", Audit)
