"""The result of the selection and its file, reports/selection.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.models.candidates import Candidate
from fclip.selection.preferences import Preference

DIGITS = 6


@dataclass(frozen=True)
class DatasetScore:
    """A candidate's primary metric on the selection data of one out-of-domain dataset.

    Attributes:
        base: the base model's value. gain: normalised gain over it (see `fclip.selection.rules.out_of_domain`).
        standard_error: of `value`, from the bootstrap over items.
    """

    value: float
    base: float
    gain: float
    standard_error: float


@dataclass(frozen=True)
class HeldScore:
    """A candidate's value of one metric that selection holds in domain.

    Attributes:
        deficit: how far the value is below the best one.
        accepted: the largest accepted deficit: the tolerance, or one standard error of the paired difference from the
            best candidate if that is larger.
    """

    value: float
    deficit: float
    accepted: float


@dataclass(frozen=True)
class ToleranceChoice:
    """The candidate that the configured rule selects with another in-domain tolerance.

    Attributes:
        prefer: the preference that applies this tolerance; None if none does.
    """

    tolerance: float
    winner: str
    prefer: Preference | None = None


@dataclass(frozen=True)
class CandidateResult:
    """The scores of one candidate in the selection.

    Attributes:
        score: by the configured rule; None if it is not finite.
        in_domain: mean primary metric on the selection data of the training datasets; 0 if there are none.
        out_of_domain: scores by dataset.
        eligible: whether the rule may select it. The base model is always eligible.
        num_nonfinite: number of features that are not finite.
        held: by `<dataset>` for primary metrics, and by `<dataset>.<metric>` for the others that selection holds in
            domain. Empty in the result of an older version.
    """

    candidate: Candidate
    score: float | None
    in_domain: float
    out_of_domain: Mapping[str, DatasetScore]
    eligible: bool
    num_nonfinite: int
    held: Mapping[str, HeldScore] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name


@dataclass(frozen=True)
class SelectionResult:
    """The selected candidate and the reason.

    Attributes:
        rule, prefer, tie_confidence: as in params. in_domain_tolerance: the tolerance that `prefer` applies.
        winner: name of the selected candidate. best: name of the eligible candidate with the highest score.
        near_ties: names of `best` and of the eligible candidates that it does not significantly beat.
        reason: one sentence without its full stop.
        warning: sentences about weaknesses of the selection, without the last full stop; None if there are none.
        choices: rule -> name of the candidate that it selects, for every applicable rule.
        in_domain_datasets: the training datasets that have a `select` split.
        candidates: the base model first, then in the order of their steps.
        by_tolerance: what the rule selects with other tolerances, in ascending order. Empty in the result of an older
            version.
    """

    rule: str
    in_domain_tolerance: float
    tie_confidence: float | None
    winner: str
    best: str
    near_ties: tuple[str, ...]
    reason: str
    warning: str | None
    choices: Mapping[str, str]
    in_domain_datasets: tuple[str, ...]
    candidates: tuple[CandidateResult, ...]
    by_tolerance: tuple[ToleranceChoice, ...] = ()
    prefer: Preference = "balanced"

    @property
    def picks(self) -> tuple[ToleranceChoice, ...]:
        """What each preference selects, from the smallest tolerance. Empty in the result of an older version."""
        return tuple(choice for choice in self.by_tolerance if choice.prefer)

    @property
    def held_metrics(self) -> tuple[str, ...]:
        """The metrics that selection holds in domain: `<dataset>` or `<dataset>.<metric>`."""
        return tuple(self.base.held)

    @property
    def base(self) -> CandidateResult:
        """The base model."""
        return self.candidates[0]

    @property
    def selected(self) -> CandidateResult:
        """The selected candidate."""
        return self.candidate(self.winner)

    @property
    def differs_from_base(self) -> bool:
        """Whether the selected candidate is another one than the base model."""
        return self.winner != self.base.name

    @property
    def trajectory(self) -> tuple[CandidateResult, ...]:
        """The base model and the checkpoints, in the order of training."""
        return tuple(entry for entry in self.candidates if entry.candidate.is_on_training_path)

    @property
    def out_of_domain_datasets(self) -> tuple[str, ...]:
        """The out-of-domain datasets that have a `select` split, sorted by name."""
        return tuple(sorted(self.base.out_of_domain))

    def candidate(self, name: str) -> CandidateResult:
        """The candidate with this name."""
        return next(entry for entry in self.candidates if entry.name == name)


def write_selection(path: Path, result: SelectionResult) -> None:
    """Write `result` as JSON, with the scores rounded to `DIGITS` digits."""
    values = asdict(result)
    for entry in values["candidates"]:
        candidate = entry.pop("candidate")  # not rounded
        entry |= {**_rounded(entry), "candidate": candidate}
    write_json(path, values)


def read_selection(path: Path) -> SelectionResult:
    """Read a file that `write_selection` wrote.

    Raises:
        UserError: the file is missing or is not a selection result.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc pull` or `dvc repro select`")
    try:
        values: dict[str, Any] = read_json(path)
        for name in ("near_ties", "in_domain_datasets"):
            values[name] = tuple(values[name])
        values["by_tolerance"] = tuple(ToleranceChoice(**entry) for entry in values["by_tolerance"])
        result = SelectionResult(**{**values, "candidates": tuple(_candidate(entry) for entry in values["candidates"])})
        if not {result.winner, result.best, *(entry.winner for entry in result.by_tolerance)} <= {
            entry.name for entry in result.candidates
        }:
            raise ValueError("the winner is not among the candidates")
        return result
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a selection result ({error}); run `dvc repro select`") from error


def _candidate(entry: dict[str, Any]) -> CandidateResult:
    scores = {name: DatasetScore(**score) for name, score in entry["out_of_domain"].items()}
    held = {name: HeldScore(**score) for name, score in entry["held"].items()}
    return CandidateResult(
        **{**entry, "candidate": Candidate(**entry["candidate"]), "held": held, "out_of_domain": scores}
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
