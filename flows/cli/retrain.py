"""The command `retrain`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from flows.unchanged import Unchanged
    from tasks.resolve import Resolution


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
    found = _find_unchanged(workspace, commit=commit, wait=wait) if is_checked else None
    if isinstance(found, Unchanged):
        _print_unchanged(workspace, found)
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
        _print_unchanged(workspace, done)
    else:
        print_summary(console, workspace, done)


def _find_unchanged(workspace: Workspace, *, commit: bool, wait: bool) -> "Unchanged | Resolution | None":
    """Call `find_unchanged` under the lock of a run, before Prefect is imported."""
    from flows.unchanged import find_unchanged
    from tasks.commit import require_clean
    from tasks.workspace.lock import run_lock

    with run_lock(workspace, "fclip retrain", on_wait=_print_waiting if wait else None):
        if commit:
            require_clean(workspace)
        return find_unchanged(workspace, commit=commit)


def _print_waiting(holder: str) -> None:
    console.print(f"Waiting: {holder}. `--no-wait` refuses instead.", highlight=False, soft_wrap=True)


def _print_unchanged(workspace: Workspace, unchanged: "Unchanged") -> None:
    at = datetime.fromisoformat(unchanged.completed_at)
    console.print(
        f"Nothing changed since the run of {at:%Y-%m-%d %H:%M} UTC: sources, base model, params, code and registry are "
        f"the same. No stage was recomputed.\nreport  {workspace.report}",
        highlight=False,
        soft_wrap=True,
    )
