"""The result of an audit, and the file of all results, reports/audits.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fclip.errors import UserError
from fclip.files import read_json, write_json

Status: TypeAlias = Literal["passed", "failed", "no limit", "not measured"]


@dataclass(frozen=True)
class Measure:
    """One number of an audit.

    Attributes:
        name: unique in the audit, in snake_case. Headlines of one audit with the same name are the same quantity.
        label: a few words for tables and plots.
        value, low, high: the number and its bootstrap interval.
        num_items: number of products or queries behind it.
        group: a heading that measures with the same heading are plotted under; "" for the headline.
    """

    name: str
    label: str
    value: float
    low: float
    high: float
    num_items: int
    group: str = ""


@dataclass(frozen=True)
class AuditResult:
    """The result of one audit of one model on one split of a dataset.

    Attributes:
        kind: the kind of the audit. dataset, split: the data. model: name of the model. model_sha256: its digest.
        headline: the number that is compared with the limit: 0 is perfect, and higher is worse. None if it could not be
            measured.
        measures: the other numbers, in the order of the plot.
        limit: the largest accepted headline; None: no limit.
        summary: one to three sentences for a shop's manager.
        not_measured: a sentence for each thing that could not be measured, with the reason and the remedy.
    """

    kind: str
    dataset: str
    split: str
    model: str
    model_sha256: str
    headline: Measure | None
    measures: tuple[Measure, ...]
    limit: float | None
    summary: str
    not_measured: tuple[str, ...] = ()

    @property
    def status(self) -> Status:
        """`failed` if the whole interval of the headline is above the limit."""
        if self.headline is None:
            return "not measured"
        if self.limit is None:
            return "no limit"
        return "failed" if self.headline.low > self.limit else "passed"


def write_audits(path: Path, results: Sequence[AuditResult]) -> None:
    """Write the results as JSON."""
    write_json(path, {"audits": [asdict(result) for result in results]})


def read_audits(path: Path) -> tuple[AuditResult, ...]:
    """Read a file that `write_audits` wrote.

    Raises:
        UserError: the file is missing or has other content.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc pull` or `dvc repro audit`")
    try:
        return tuple(_result(entry) for entry in read_json(path)["audits"])
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a list of audit results ({error}); run `dvc repro audit`") from error


def _result(entry: dict[str, Any]) -> AuditResult:
    headline = entry["headline"]
    return AuditResult(
        **{
            **entry,
            "headline": None if headline is None else Measure(**headline),
            "measures": tuple(Measure(**measure) for measure in entry["measures"]),
            "not_measured": tuple(entry["not_measured"]),
        }
    )
