"""Commands of `fclip` that judge models: `evaluate` and `compare`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fclip.errors import UserError
from flows.terminal import console, workspace_here

MODEL_HELP = "A folder, selected, a candidate, a registry version or alias, fclip-tiny, or a name on the hub."


def evaluate(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    dataset: Annotated[str, typer.Argument(help="A name in evaluate.datasets of params.yaml.")],
) -> None:
    """Score any model on a dataset of the workspace, by all its protocols, with intervals."""
    from tasks.judge import judge

    evaluation = judge(workspace_here(), [model], dataset)
    table = Table(title=f"{model} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "value", "interval"):
        table.add_column(column, justify="right")
    for entry in evaluation.scores:
        estimate = entry.estimate
        table.add_row(
            entry.split,
            entry.role,
            f"{entry.protocol}.{entry.metric}" + (" *" if entry.primary else ""),
            str(entry.num_items),
            f"{estimate.value:.3f}",
            f"{estimate.low:.3f}–{estimate.high:.3f}",
            style="bold" if entry.primary else None,
        )
    console.print(table)


def compare(
    before: Annotated[str, typer.Argument(help=MODEL_HELP)],
    after: Annotated[str, typer.Argument(help="Another.")],
    dataset: Annotated[str, typer.Argument(help="A name in evaluate.datasets of params.yaml.")],
    out: Annotated[Path | None, typer.Option(help="The page; reports/comparisons/… without it.")] = None,
) -> None:
    """Two models on the same items: what changed and what did not, for whom, and pictures to look at."""
    from fclip.report.compared import write_page
    from tasks.judge import judge, same_weights, side_by_side

    workspace = workspace_here()
    if before == after or same_weights(workspace, before, after):
        raise UserError(f"{before} and {after} are the same model: there is nothing to compare")
    evaluation = judge(workspace, [before, after], dataset)
    found = side_by_side(workspace, evaluation, before, after)
    table = Table(title=f"{after} against {before} on {dataset}", title_justify="left", box=None)
    for column in ("split", "role", "metric"):
        table.add_column(column)
    for column in ("items", "before", "after", "change", "interval"):
        table.add_column(column, justify="right")
    for change in found.changes:
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
            style=("green" if difference.value > 0 else "red") if difference.excludes_zero else None,
        )
    console.print(table)
    console.print("coloured: a difference, since its interval (paired bootstrap) leaves out 0", style="dim")
    path = out or workspace.comparison(dataset, before, after)
    console.print(f"page  {write_page([found], path)}", highlight=False, soft_wrap=True)
