"""The study of selection rules on tables of scores: regret on data that a rule did not read, and its cost in domain.

python -m benchmarks.selection.study --table RUN.parquet [--table RUN.parquet ...] [--plot FILE]
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.selection.regret import ALL, USUAL_TIES, Regret, ScoreTable, reference_regret, rule_label, study
from benchmarks.selection.run_table import read_run
from benchmarks.selection.score_table import read_scores
from benchmarks.selection.trade_off import draw_trade_off
from fclip.errors import UserError
from fclip.files import write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
TOLERANCES = (math.inf, 5.0, 3.0, 2.0, 1.0, 0.0)
TIE_CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95)
WIDTH = 170
RUN_TABLE = ".parquet"


@app.command()
def selection(
    table: Annotated[
        list[Path],
        typer.Option(help="Runs (.parquet, a run each), or JSON lines, an object a model, which are one table."),
    ],
    base_model: Annotated[
        str | None, typer.Option(help="JSON lines: the model that the others were tuned from.")
    ] = None,
    in_domain: Annotated[str | None, typer.Option(help="JSON lines: what rules may read in domain.")] = None,
    cost: Annotated[
        str | None, typer.Option(help="JSON lines: what the in-domain cost is measured by; the same without.")
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Also with fewer outside datasets, and by other confidences of ties."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the numbers there, as JSON.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw regret against the cost in domain there: a name in .png or .svg.")
    ] = None,
) -> None:
    """Rules on tables of scores: each dataset is held out in turn; regret there, and what it costs in domain."""
    tables = _read(table, base_model, in_domain, cost)
    of_runs = table[0].suffix == RUN_TABLE
    found = study(tables, [tolerance / 100 for tolerance in TOLERANCES], TIE_CONFIDENCES if of_runs else ())
    to = reference_regret(found)
    _show(found, to, tables, every=every or not of_runs)
    if out is not None:
        write_json(out, [_as_json(entry, to) for entry in found])
    if plot is not None:
        _console().print(f"plot  {draw_trade_off(found, plot)}", highlight=False, soft_wrap=True)


def _read(paths: Sequence[Path], base_model: str | None, in_domain: str | None, cost: str | None) -> list[ScoreTable]:
    if all(path.suffix == RUN_TABLE for path in paths):
        return [read_run(path) for path in paths]
    if any(path.suffix == RUN_TABLE for path in paths):
        raise UserError("runs (.parquet) and JSON lines are not of one study: give one kind")
    if base_model is None or in_domain is None:
        raise UserError(
            "JSON lines say neither what the base model is nor what is in domain: give --start and --in-domain"
        )
    return [read_scores(paths, base_model=base_model, in_domain=in_domain, cost=cost or in_domain)]


def _as_json(entry: Regret, to: Regret) -> dict[str, Any]:
    values = asdict(entry)
    setting = values.pop("setting")
    tolerance = None if math.isinf(setting["tolerance"]) else setting["tolerance"]
    return {**setting, "tolerance": tolerance, **values, "ratio": entry.regret / to.regret if to.regret else None}


def _show(found: Sequence[Regret], to: Regret, tables: Sequence[ScoreTable], *, every: bool) -> None:
    held = ", ".join(dict.fromkeys(name for table in tables for name in table.out_of_domain))
    number = f"{len(tables)} runs, " if len(tables) > 1 else ""
    shown = Table(
        title=f"{number}{sum(len(table.candidates) for table in tables)} models, held out in turn: {held}",
        title_justify="left",
        caption="Regret (in-domain cost), percentage points, by how far below the best in domain a model may be; "
        f"×: of what {rule_label(to.setting.rule)} leaves{'' if to.setting.pool == ALL else ' without averages'}. "
        "Reads: number of out-of-domain datasets. Ties: of near ties, the closest to the base model wins. "
        "Hindsight: the candidate with the best mean over all out-of-domain datasets, including the held-out one.",
        caption_justify="left",
        box=None,
    )
    for column in ("rule", "reads", "ties", "among"):
        shown.add_column(column, no_wrap=True)
    for tolerance in TOLERANCES:
        shown.add_column("any" if math.isinf(tolerance) else f"{tolerance:g}", justify="right", no_wrap=True)
    most = max(entry.setting.num_datasets for entry in found)
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for entry in found:
        of = entry.setting
        usual = of.num_datasets in (0, most) and of.tie_confidence in (None, USUAL_TIES)
        if every or (usual and (of.pool == ALL or of.tie_confidence is None)):
            reads = f"{of.num_datasets}" if of.num_datasets else ""
            ties = "" if of.tie_confidence is None else f"{of.tie_confidence:g}"
            ratio = f" ×{entry.regret / to.regret:.2f}" if to.regret else ""
            cell = f"{100 * entry.regret:.2f} ({100 * entry.in_domain_cost:.2f}){ratio}"
            rows.setdefault((rule_label(of.rule), reads, ties, of.pool), []).append(cell)
    for row, cells in rows.items():
        shown.add_row(*row, *cells)
    _console().print(shown)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def main() -> None:
    """Entry point: one line for an error that the user can mend, exit 1."""
    try:
        app()
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
