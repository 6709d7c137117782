"""The evaluation of the base model and the selected model, as rows for the terminal and Prefect artifacts."""

from dataclasses import dataclass

from fclip.evaluation.protocols.registry import protocols
from fclip.evaluation.table import ScoreRow, read_score_rows
from fclip.selection.result import read_selection
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class ResultRow:
    """One metric of one role of a dataset: the values of the base model and of the selected model, with intervals."""

    dataset: str
    role: str
    metric: str
    num_items: int
    primary: bool
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]


def read_results(workspace: Workspace, datasets: list[str], *, before: str, after: str) -> list[ResultRow]:
    """Return the summary metrics of every dataset and role. `before` and `after` are names of candidates."""
    results = []
    for dataset in datasets:
        rows = read_score_rows(workspace.evaluation(dataset))
        if not rows:  # a derived dataset of which too few products could be made
            continue
        primary = next(row.protocol for row in rows if row.primary)
        by_key = {(row.role, row.full_metric, row.candidate): row for row in rows}
        for (role, metric, candidate), old in by_key.items():
            if candidate != before or not (old.primary or _is_shown(old, primary)):
                continue
            new = by_key[role, metric, after]
            results.append(
                ResultRow(
                    dataset=dataset,
                    role=role,
                    metric=metric,
                    num_items=new.num_items,
                    primary=new.primary,
                    before=old.value,
                    before_interval=(old.low, old.high),
                    after=new.value,
                    after_interval=(new.low, new.high),
                )
            )
    return results


def _is_shown(row: ScoreRow, primary: str) -> bool:
    """Whether the metric belongs to the summary if the primary metric comes from the protocol `primary`."""
    declaration = protocols()[row.kind]
    return row.metric in declaration.summary and (declaration.is_always_in_summary or row.protocol == primary)


def selected_candidate(workspace: Workspace) -> str:
    """The name of the selected candidate."""
    return read_selection(workspace.selection).winner


def results_markdown(results: list[ResultRow], *, after: str) -> str:
    """The results as a Markdown table."""
    lines = [
        f"| dataset | role | metric | items | base model | {after} | change |",
        "| --- | --- | --- | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {r.dataset} | {r.role} | {'**' + r.metric + '**' if r.primary else r.metric} | {r.num_items} "
        f"| {_value(r.before, r.before_interval)} | {_value(r.after, r.after_interval)} | {r.after - r.before:+.3f} |"
        for r in results
    ]
    return "\n".join(lines)


def results_records(results: list[ResultRow], *, after: str) -> list[dict[str, object]]:
    """The results as rows for a Prefect table artifact."""
    return [
        {
            "dataset": r.dataset,
            "role": r.role,
            "metric": r.metric,
            "items": r.num_items,
            "base_model": round(r.before, 4),
            after: round(r.after, 4),
            "change": round(r.after - r.before, 4),
        }
        for r in results
    ]


def _value(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"
