"""The command `retrain`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from flows.cli.flow_run import Commit, Wait, run_flow
from flows.cli.here import workspace_here
from flows.cli.terminal import console


def retrain(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Run every stage on 200 rows per dataset in a temporary copy and estimate the cost of the run.",
        ),
    ] = False,
    commit: Commit = False,
    wait: Wait = True,
) -> None:
    """Run the whole pipeline: read the sources, train, select, register, promote if better, and embed for search."""
    workspace = workspace_here()
    if dry_run:
        from flows.cli.dry_run import dry_run as run

        run(workspace, console)
        return
    run_flow(workspace, "retrain", _load, commit=commit, wait=wait)


def _load() -> tuple[Callable[..., Any], Callable[..., None]]:
    from flows.cli.summary import print_summary
    from flows.retrain import retrain_flow

    return retrain_flow, print_summary
