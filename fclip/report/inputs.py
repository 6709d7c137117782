"""The inputs of the report."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from fclip.audits.result import AuditResult
from fclip.profile.drift import Drift
from fclip.registry.decisions import Decision
from fclip.selection.gate import GateComparison
from fclip.selection.result import SelectionResult
from fclip.shifts.counts import DerivedCounts


@dataclass(frozen=True)
class ReportedValue:
    """A metric's value with its bootstrap confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MetricResult:
    """One metric on one split, of the base model (`before`) and of the selected model (`after`) on the same items.

    Attributes:
        kind: the kind of the protocol. metric: `<protocol>.<metric>`. primary: whether selection and gate use it.
        in_domain: whether the model trains on the dataset.
        made_of: the dataset that this one consists of changed copies of, and the shift, in words; None: no copies.
    """

    dataset: str
    split: str
    role: str
    in_domain: bool
    kind: str
    metric: str
    num_items: int
    primary: bool
    before: ReportedValue
    after: ReportedValue
    made_of: str | None = None

    @property
    def change(self) -> float:
        return self.after.value - self.before.value


@dataclass(frozen=True)
class CandidateScores:
    """The primary metric of every candidate: candidate name -> dataset -> value.

    Attributes:
        select: on selection data. report: on report data.
    """

    select: Mapping[str, Mapping[str, ReportedValue]]
    report: Mapping[str, Mapping[str, ReportedValue]]

    def elsewhere(self, in_domain: Collection[str]) -> list[str]:
        """Return the datasets with report data that the model does not train on, sorted."""
        return sorted({name for values in self.report.values() for name in values} - set(in_domain))


@dataclass(frozen=True)
class TrainingCurves:
    """Points (step, loss): the training loss at every step, the in-domain validation loss at every checkpoint."""

    loss: tuple[tuple[int, float], ...]
    validation: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class IngestCounts:
    """The counts of one dataset's ingest; `num_rows` = `num_products` + `num_refused`.

    Attributes:
        page: address of the dataset's catalog page relative to the report; None if there is no page.
    """

    dataset: str
    source: str
    roles: Mapping[str, str]
    num_rows: int
    num_products: int
    num_images: int
    num_refused: int
    splits: Mapping[str, int]
    refused_by_reason: Mapping[str, int]
    page: str | None = None


@dataclass(frozen=True)
class DerivedData:
    """A dataset of changed copies of a dataset's held-out products.

    Attributes:
        shift: label of the shift. description: what it does, in a sentence.
        page: address of the catalog page of the original relative to the report; None if there is no page.
    """

    dataset: str
    shift: str
    description: str
    counts: DerivedCounts
    page: str | None = None

    @property
    def made_of(self) -> str:
        """The original and the shift, in words."""
        return f"{self.counts.of}, {self.shift}"


@dataclass(frozen=True)
class GateResult:
    """Registration and promotion of the selected model.

    Attributes:
        version: its number in the registry; None if it was not registered.
        moved: whether this run made it the champion. is_champion: whether it is the champion, since this run or before.
        decisions: what people decided about the version, the last one at the end.
    """

    registered_model: str
    version: int | None
    moved: bool
    is_champion: bool
    reason: str
    comparisons: tuple[GateComparison, ...]
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True)
class ReportInputs:
    """The inputs of one run's report.

    Attributes:
        made_at: ISO time.
        lineage: digests and commits to show, as (name, value).
        drift: drift of the training catalogs from the champion's; None if it was not measured.
        evaluation_page: address of the comparison of the base model with the selected one, relative to the report;
            None if there is no such page.
        audits: of the models `base-model`, `champion` (if the challenger was compared with it) and `selected`.
        derived: the datasets of changed copies.
    """

    workspace: str
    made_at: str
    results: tuple[MetricResult, ...]
    selection: SelectionResult
    scores: CandidateScores
    training: TrainingCurves
    gate: GateResult
    ingests: tuple[IngestCounts, ...]
    lineage: tuple[tuple[str, str], ...]
    drift: Drift | None = None
    evaluation_page: str | None = None
    audits: tuple[AuditResult, ...] = ()
    derived: tuple[DerivedData, ...] = ()
