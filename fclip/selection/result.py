"""The result of a selection, and its file reports/selection.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.models.candidates import Candidate

DIGITS = 6


@dataclass(frozen=True)
class DatasetScore:
    """A candidate's primary metric on the select data of one out-of-domain dataset.

    Attributes:
        base: the base model's value there. gain: the normalised gain over it (`fclip.selection.rules.out_of_domain`).
        standard_error: of `value`, by the bootstrap over items.
    """

    value: float
    base: float
    gain: float
    standard_error: float


@dataclass(frozen=True)
class CandidateResult:
    """A candidate as the selection judged it.

    Attributes:
        score: by the rule in use; None where it is not finite.
        in_domain: mean of the primary metrics on the select data of the datasets that train; 0 without any.
        out_of_domain: by dataset.
        eligible: whether the rule could choose it; the base model always is eligible.
        num_nonfinite: number of features that are not finite.
    """

    candidate: Candidate
    score: float | None
    in_domain: float
    out_of_domain: Mapping[str, DatasetScore]
    eligible: bool
    num_nonfinite: int

    @property
    def name(self) -> str:
        """The candidate's name."""
        return self.candidate.name


@dataclass(frozen=True)
class SelectionResult:
    """Which candidate was selected, and why.

    Attributes:
        rule, in_domain_tolerance, tie_confidence: as in params.
        winner: name of the selected candidate. best: name of the eligible candidate with the highest score.
        near_ties: names of the eligible candidates that cannot be told from `best`, itself among them.
        reason: in one sentence without a full stop. warning: what makes the selection doubtful; None without any.
        choices: rule -> name of the candidate that it would have chosen, for every rule that is applicable.
        in_domain_datasets: the datasets that train and select.
        candidates: the base model first, then by step.
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

    @property
    def base(self) -> CandidateResult:
        """The base model."""
        return self.candidates[0]

    @property
    def selected(self) -> CandidateResult:
        """The winner."""
        return self.candidate(self.winner)

    @property
    def won(self) -> bool:
        """Whether another candidate than the base model won."""
        return self.winner != self.base.name

    @property
    def path(self) -> tuple[CandidateResult, ...]:
        """The base model and the checkpoints, in the order of training."""
        return tuple(entry for entry in self.candidates if entry.candidate.is_on_training_path)

    @property
    def out_of_domain_datasets(self) -> tuple[str, ...]:
        """The datasets that select without training, in the order of their names."""
        return tuple(sorted(self.base.out_of_domain))

    def candidate(self, name: str) -> CandidateResult:
        """The candidate of that name."""
        return next(entry for entry in self.candidates if entry.name == name)


def write_selection(path: Path, result: SelectionResult) -> None:
    """Write `result` as JSON, its scores rounded to `DIGITS` digits."""
    values = asdict(result)
    for entry in values["candidates"]:
        candidate = entry.pop("candidate")  # its record stays exact
        entry |= {**_rounded(entry), "candidate": candidate}
    write_json(path, values)


def read_selection(path: Path) -> SelectionResult:
    """The result that `write_selection` wrote.

    Raises:
        UserError: the file is missing or does not hold such a result.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc pull`, or `dvc repro select`")
    try:
        values: dict[str, Any] = read_json(path)
        for name in ("near_ties", "in_domain_datasets"):
            values[name] = tuple(values[name])
        found = SelectionResult(**{**values, "candidates": tuple(_candidate(entry) for entry in values["candidates"])})
        if not {found.winner, found.best} <= {entry.name for entry in found.candidates}:
            raise ValueError("the winner is not among the candidates")
        return found
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not the result of a selection ({error}): run `dvc repro select`") from error


def _candidate(entry: dict[str, Any]) -> CandidateResult:
    scores = {name: DatasetScore(**score) for name, score in entry["out_of_domain"].items()}
    return CandidateResult(**{**entry, "candidate": Candidate(**entry["candidate"]), "out_of_domain": scores})


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return round(value, DIGITS) if isinstance(value, float) else value
