"""What the report is made of."""

from collections.abc import Mapping
from dataclasses import dataclass

from fclip.profile.drift import Drift
from fclip.selection.gate import Comparison


@dataclass(frozen=True)
class Estimate:
    """A metric's value and its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """One metric of one split: the start's, and the selected model's on the same items.

    metric: `<protocol>.<metric>`. primary: the metric that selects and gates. in_domain: the dataset trains.
    """

    dataset: str
    split: str
    role: str
    in_domain: bool
    metric: str
    num_items: int
    primary: bool
    before: Estimate
    after: Estimate

    @property
    def change(self) -> float:
        return self.after.value - self.before.value


@dataclass(frozen=True)
class Candidate:
    """A model that could have been chosen; the first at step 0 is the start.

    Attributes:
        score: by the rule in use; None where it is not finite.
        in_domain: mean primary score, on what selects, over what trains.
        on_path: whether it is the start or a checkpoint on the way from it: no average, and not where it came from.
        select_scores: primary scores on the data that selects, by dataset. report_scores: on data that chose nothing.
    """

    name: str
    step: int
    score: float | None
    in_domain: float
    eligible: bool
    val_loss: float | None
    select_scores: Mapping[str, Estimate]
    report_scores: Mapping[str, Estimate]
    on_path: bool


@dataclass(frozen=True)
class Selection:
    """How the model was chosen: `choices` says what each rule would have taken.

    near_ties: candidates that the best by the rule is not told from, where that was asked.
    """

    rule: str
    tolerance: float
    winner: str
    near_ties: tuple[str, ...]
    reason: str
    warning: str | None
    choices: Mapping[str, str]
    candidates: tuple[Candidate, ...]
    in_domain_datasets: tuple[str, ...]

    @property
    def path(self) -> tuple[Candidate, ...]:
        """The start and what became of it, step by step."""
        return tuple(candidate for candidate in self.candidates if candidate.on_path)

    @property
    def outside_datasets(self) -> tuple[str, ...]:
        """The datasets that select without training."""
        names = {name for candidate in self.candidates for name in candidate.select_scores}
        return tuple(sorted(names - set(self.in_domain_datasets)))

    def candidate(self, name: str) -> Candidate:
        return next(entry for entry in self.candidates if entry.name == name)


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
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class ReportInputs:
    """One run. `lineage`: what to show of digests and commits, (name, value) in order. `made_at`: ISO time.

    drift: the catalogs that train against the champion's, None where nobody looked.
    evaluation_page: where the comparison of the start with the winner is, seen from the report; None: there is none.
    """

    workspace: str
    made_at: str
    results: tuple[Result, ...]
    selection: Selection
    training: Training
    gate: Gate
    ingests: tuple[Ingest, ...]
    lineage: tuple[tuple[str, str], ...]
    drift: Drift | None = None
    evaluation_page: str | None = None
