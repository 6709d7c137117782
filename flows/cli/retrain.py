"""The command `retrain`."""

from typing import Annotated

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.cli.unchanged import find_unchanged_here, print_unchanged


def retrain(
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Run every stage on 200 rows per dataset in a temporary copy and estimate the cost of the run.",
        ),
    ] = False,
    commit: Annotated[
        bool,
        typer.Option(
            "--commit/--no-commit",
            help="At the end, push the data to the DVC remote, commit dvc.lock and pins/ to git, and push.",
        ),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait/--no-wait", help="Wait for another run in this workspace, or refuse to start."),
    ] = True,
) -> None:
    """Run the whole pipeline: read the sources, train, select, register, promote if better, and embed for search."""
    workspace = workspace_here()
    if dry_run:
        from flows.cli.dry_run import dry_run as run

        run(workspace, console)
        return
    from flows.params import load_params
    from flows.server import has_server
    from flows.unchanged import Unchanged

    load_params(workspace)
    # With a server, the flow itself looks for changes, so that the server records every run.
    is_checked = not has_server()
    found = find_unchanged_here(workspace, "retrain", commit=commit, wait=wait) if is_checked else None
    if isinstance(found, Unchanged):
        print_unchanged(workspace, found)
        return
    from flows.cli.summary import print_summary
    from flows.effects import without_tracebacks
    from flows.retrain import retrain_flow
    from flows.stage import StageError

    without_tracebacks()
    try:
        done = retrain_flow(is_checked=is_checked, resolution=found)(str(workspace.root), commit=commit, wait=wait)
    except StageError as error:
        raise UserError(str(error)) from error
    if isinstance(done, Unchanged):
        print_unchanged(workspace, done)
    else:
        print_summary(console, workspace, done)
