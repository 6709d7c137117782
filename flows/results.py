"""The evaluation before and after, as rows that the terminal, the Prefect artifact and people read."""

from dataclasses import dataclass

import pyarrow.parquet as pq

from fclip.files import read_json
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Result:
    """One metric of one split: the start's value and the selected model's, each with its interval."""

    dataset: str
    role: str
    metric: str
    num_items: int
    primary: bool
    before: float
    before_interval: tuple[float, float]
    after: float
    after_interval: tuple[float, float]


# Beside the primary metric of each dataset; the rest is in the report.
OF_THE_PRIMARY = ("acc1", "weighted_f1")
RETRIEVED = ("text_to_image.recall_at_10", "image_to_text.recall_at_10")


def read_results(workspace: Workspace, datasets: list[str], *, before: str, after: str) -> list[Result]:
    """The shown metrics of every dataset and role, those that select first; `before` and `after` name candidates."""
    results = []
    for dataset in datasets:
        rows = pq.read_table(workspace.evaluation(dataset)).to_pylist()
        primary = next(f"{row['protocol']}.{row['metric']}" for row in rows if row["primary"])
        found = {(row["role"], f"{row['protocol']}.{row['metric']}", row["candidate"]): row for row in rows}
        for (role, metric, candidate), old in found.items():
            if candidate != before or not _is_shown(metric, primary):
                continue
            new = found[role, metric, after]
            results.append(
                Result(
                    dataset=dataset,
                    role=role,
                    metric=metric,
                    num_items=new["num_items"],
                    primary=new["primary"],
                    before=old["value"],
                    before_interval=(old["low"], old["high"]),
                    after=new["value"],
                    after_interval=(new["low"], new["high"]),
                )
            )
    return results


def _is_shown(metric: str, primary: str) -> bool:
    protocol, _, name = metric.rpartition(".")
    of_the_primary = protocol == primary.rpartition(".")[0] and name in OF_THE_PRIMARY
    return metric == primary or of_the_primary or metric.endswith(RETRIEVED)


def selected_candidate(workspace: Workspace) -> str:
    """The name of the candidate that selection chose."""
    return str(read_json(workspace.selection)["winner"])


def as_markdown(results: list[Result], *, after: str) -> str:
    """The results as a Markdown table."""
    lines = [
        f"| dataset | role | metric | items | start | {after} | change |",
        "| --- | --- | --- | --: | --: | --: | --: |",
    ]
    lines += [
        f"| {r.dataset} | {r.role} | {'**' + r.metric + '**' if r.primary else r.metric} | {r.num_items} "
        f"| {_value(r.before, r.before_interval)} | {_value(r.after, r.after_interval)} | {r.after - r.before:+.3f} |"
        for r in results
    ]
    return "\n".join(lines)


def as_records(results: list[Result], *, after: str) -> list[dict[str, object]]:
    """The results as rows for a Prefect table artifact."""
    return [
        {
            "dataset": r.dataset,
            "role": r.role,
            "metric": r.metric,
            "items": r.num_items,
            "start": round(r.before, 4),
            after: round(r.after, 4),
            "change": round(r.after - r.before, 4),
        }
        for r in results
    ]


def _value(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"
