"""What the report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

from fclip.profile.drift import Drift
from fclip.selection.gate import GateComparison
from fclip.selection.result import SelectionResult


@dataclass(frozen=True)
class ReportedValue:
    """A metric's value and its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class MetricResult:
    """One metric of one split: the base model's, and the selected model's on the same items.

    metric: `<protocol>.<metric>`. primary: the metric that selects and gates. in_domain: the dataset trains.
    """

    dataset: str
    split: str
    role: str
    in_domain: bool
    metric: str
    num_items: int
    primary: bool
    before: ReportedValue
    after: ReportedValue

    @property
    def change(self) -> float:
        return self.after.value - self.before.value


@dataclass(frozen=True)
class CandidateScores:
    """Every candidate's primary metric with its interval: name -> dataset -> estimate.

    select: on data that selects. report: on data that selected nothing.
    """

    select: Mapping[str, Mapping[str, ReportedValue]]
    report: Mapping[str, Mapping[str, ReportedValue]]


@dataclass(frozen=True)
class Training:
    """Curves: (step, training loss), and (step, loss on in-domain validation) at every candidate."""

    loss: tuple[tuple[int, float], ...]
    validation: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Ingest:
    """The counts of one dataset's ingest; `num_rows` = `num_products` + `num_refused`.

    page: where the page of its catalog is, relative to the report; None where there is none.
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
class Gate:
    """What became of the selected model.

    version: its number in the registry, None where it was not registered. moved: it is champion since this run.
    is_champion: it is champion, whether since this run or before.
    """

    registered_model: str
    version: int | None
    moved: bool
    is_champion: bool
    reason: str
    comparisons: tuple[GateComparison, ...]


@dataclass(frozen=True)
class ReportInputs:
    """One run. `lineage`: what to show of digests and commits, (name, value) in order. `made_at`: ISO time.

    drift: the catalogs that train against the champion's, None where nobody looked.
    evaluation_page: where the comparison of the base model with the winner is, seen from the report; None: there is none.
    """

    workspace: str
    made_at: str
    results: tuple[MetricResult, ...]
    selection: SelectionResult
    scores: CandidateScores
    training: Training
    gate: Gate
    ingests: tuple[Ingest, ...]
    lineage: tuple[tuple[str, str], ...]
    drift: Drift | None = None
    evaluation_page: str | None = None
