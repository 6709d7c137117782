"""Commands of `fclip` that judge models: `evaluate` and `compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fclip.errors import UserError
from fclip.files import write_json
from flows.cli.terminal import console, workspace_here
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from fclip.evaluation.run import MetricScore
    from fclip.report.changes import MetricChange

Model = Annotated[
    str,
    typer.Argument(
        help="A folder, selected, a candidate, a registry version or alias, fclip-tiny, or a name on the hub."
    ),
]
Dataset = Annotated[
    str, typer.Argument(help="A dataset that the workspace evaluates, or a published one (fclip datasets).")
]
ParamsFile = Annotated[
    Path | None, typer.Option("--params", help="Take the dataset from this params file instead of the workspace's.")
]
Copy = Annotated[
    Path | None,
    typer.Option("--path", help="Where a copy of the published dataset's files lies; from the hub without."),
]
All = Annotated[bool, typer.Option("--all", help="Show every metric, not the headlines alone.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Rows of a dataset that the workspace does not hold, at most.")]


def evaluate(
    model: Model,
    dataset: Dataset,
    params: ParamsFile = None,
    path: Copy = None,
    limit: Limit = None,
    everything: All = False,
    out: Annotated[Path | None, typer.Option(help="Write all metrics there too, as JSON.")] = None,
) -> None:
    """Score any model on any dataset, by all its protocols, with intervals."""
    from fclip.evaluation.table import long_table
    from tasks.model_evaluation import judge, model_folders

    workspace = workspace_here()
    data = _holder(workspace, dataset, params, path, limit)
    evaluation = judge(workspace, model_folders(workspace, model), dataset, data)
    table = Table(title=f"{model} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "value", "interval"):
        table.add_column(column, justify="right")
    shown = evaluation.scores if everything else [s for s in evaluation.scores if _is_headline(s)]
    for entry in shown:
        estimate = entry.estimate
        table.add_row(
            entry.split,
            entry.role,
            f"{entry.protocol}.{entry.metric}" + (" *" if entry.primary else ""),
            str(entry.num_items),
            f"{estimate.value:.3f}",
            f"{estimate.low:.3f}–{estimate.high:.3f}",
            style=_style(entry.primary, entry.num_items),
        )
    console.print(table)
    console.print(f"* selects and gates; dim: fewer than {_few()} items", style="dim")
    _say_what_is_left(len(evaluation.scores) - len(shown))
    if out is not None:
        write_json(out, long_table(evaluation, {}).to_pylist())
        console.print(f"all metrics  {out}", highlight=False, soft_wrap=True)


def compare(
    before: Model,
    after: Annotated[str, typer.Argument(help="Another.")],
    dataset: Dataset,
    params: ParamsFile = None,
    path: Copy = None,
    limit: Limit = None,
    everything: All = False,
    out: Annotated[Path | None, typer.Option(help="The page; reports/comparisons/… without it.")] = None,
) -> None:
    """Two models on the same items: what changed and what did not, for whom, and pictures to look at."""
    from fclip.report.comparison import write_comparison_page
    from tasks.model_evaluation import judge, model_folders, same_weights, side_by_side

    workspace = workspace_here()
    refusal = UserError(f"{before} and {after} are the same model: there is nothing to compare")
    if before == after:
        raise refusal
    models = model_folders(workspace, before, after)
    if same_weights(models[before], models[after]):
        raise refusal
    data = _holder(workspace, dataset, params, path, limit)
    evaluation = judge(workspace, models, dataset, data)
    found = side_by_side(data, evaluation, before, after)
    table = Table(title=f"{after} against {before} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "before", "after", "change", "interval"):
        table.add_column(column, justify="right")
    shown = found.changes if everything else [c for c in found.changes if _is_headline(c)]
    for change in shown:
        difference = change.difference
        table.add_row(
            change.split,
            change.role,
            f"{change.protocol}.{change.metric}" + (" *" if change.primary else ""),
            str(change.num_items),
            f"{change.before.value:.3f}",
            f"{change.after.value:.3f}",
            f"{difference.value:+.3f}",
            f"{difference.low:+.3f} to {difference.high:+.3f}",
            style=_colour(change),
        )
    console.print(table)
    said = "* selects and gates; coloured: a difference, since its interval (paired bootstrap) leaves out 0"
    console.print(said, style="dim")
    _say_what_is_left(len(found.changes) - len(shown))
    page = write_comparison_page([found], out or workspace.comparison(dataset, before, after))
    console.print(f"page  {page}", highlight=False, soft_wrap=True)


def _colour(change: "MetricChange") -> str | None:
    """Of a difference, but not where no change of the metric is a gain or a loss."""
    from fclip.evaluation.protocols.registry import direction

    gain = change.difference.value * direction(change.metric)
    if not change.difference.excludes_zero or not gain:
        return None
    return "green" if gain > 0 else "red"


def _is_headline(entry: "MetricScore | MetricChange") -> bool:
    """Whether it is shown without --all."""
    from fclip.evaluation.protocols.registry import protocols

    return entry.primary or entry.metric in protocols()[entry.kind].headlines


def _style(primary: bool, num_items: int) -> str | None:
    return "bold" if primary else "dim" if num_items < _few() else None


def _few() -> int:
    from fclip.report.comparison import MIN_RELIABLE_ITEMS  # matplotlib takes its time to import

    return MIN_RELIABLE_ITEMS


def _say_what_is_left(number: int) -> None:
    if number:
        console.print(f"{number} more metrics: --all", style="dim")


def _holder(workspace: Workspace, dataset: str, params: Path | None, path: Path | None, limit: int | None) -> Workspace:
    """The workspace that holds the dataset: this one, or one laid out in its cache."""
    from tasks.external_dataset import prepare_external
    from tasks.workspace.params import read_params

    given = [name for name, value in (("--params", params), ("--path", path)) if value is not None]
    if len(given) > 1:
        raise UserError("--params and --path are two ways to say where a dataset is: give one")
    if not given and dataset in read_params(workspace.params).get("evaluate", {}).get("datasets", {}):
        if limit is not None:
            raise UserError(f"{dataset} is ingested already: --limit is for datasets that the workspace does not hold")
        return workspace
    return prepare_external(workspace, dataset, params=params, path=path, limit=limit)
