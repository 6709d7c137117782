"""Commands of `fclip study`: what a choice is worth, on data of its own."""

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fclip.files import write_json
from flows.terminal import console

study_app = typer.Typer(no_args_is_help=True, help="Studies: what a way to choose is worth.")
TOLERANCES = (math.inf, 5.0, 3.0, 2.0, 1.0, 0.5, 0.0)


@study_app.callback()
def _studies() -> None:
    """Keeps `selection` a command of its own while it is the only one."""


@study_app.command("selection")
def selection(
    table: Annotated[list[Path], typer.Option(help="JSON lines, an object a model; several files are one table.")],
    start: Annotated[str, typer.Option(help="The model that the others were tuned from.")],
    in_domain: Annotated[str, typer.Option(help="The dataset that rules may read in domain.")],
    cost: Annotated[
        str | None, typer.Option(help="That by which the in-domain cost is measured; the same without.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw regret against the cost in domain there: a name in .png or .svg.")
    ] = None,
) -> None:
    """Rules on a table of scores: each dataset is held out in turn; regret there, and what it costs in domain."""
    from fclip.selection.score_table import read_scores
    from fclip.selection.study import IN_DOMAIN, study

    scores = read_scores(table, start=start, in_domain=in_domain, cost=cost or in_domain)
    found = study(scores, [tolerance / 100 for tolerance in TOLERANCES])
    shown = Table(
        title=f"{len(scores.candidates)} models, held out in turn: {', '.join(scores.outside)}",
        title_justify="left",
        caption="regret (in-domain cost), percentage points, by how far below the best in domain a model may be",
        caption_justify="left",
        box=None,
    )
    for column in ("rule", "reads"):
        shown.add_column(column, no_wrap=True)
    for tolerance in TOLERANCES:
        shown.add_column("any" if math.isinf(tolerance) else f"{tolerance:g}", justify="right", no_wrap=True)
    by_row: dict[tuple[str, int], list[str]] = {}
    for entry in found:
        cell = f"{100 * entry.regret:.2f} ({100 * entry.in_domain_cost:.2f})"
        by_row.setdefault((entry.rule, entry.num_datasets), []).append(cell)
    for (rule, size), cells in by_row.items():
        reads = f"{size} outside" if size else "in domain" if rule == IN_DOMAIN else ""
        shown.add_row(rule.replace("_", " "), reads, *cells)
    console.print(shown)
    if out is not None:
        rows = [
            vars(entry) | {"tolerance": None if math.isinf(entry.tolerance) else entry.tolerance} for entry in found
        ]
        write_json(out, rows)
    if plot is not None:
        from fclip.report.study_plot import draw_trade_off  # matplotlib takes a second to import

        console.print(f"plot  {draw_trade_off(found, plot)}", highlight=False, soft_wrap=True)
