"""Run a flow from the command line, unless nothing has changed. To find that needs no Prefect, a slow import."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fclip.errors import UserError
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from flows.unchanged import FlowName, Unchanged
    from tasks.resolve import Resolution

Commit = Annotated[
    bool,
    typer.Option(
        "--commit/--no-commit",
        help="At the end, push the data to the DVC remote, commit dvc.lock and pins/ to git, and push.",
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait for another run in this workspace, or refuse to start.")
]


def run_flow(
    workspace: Workspace,
    name: "FlowName",
    load: Callable[[], tuple[Callable[..., Any], Callable[..., None]]],
    *,
    commit: bool,
    wait: bool,
) -> None:
    """Run a flow and print its summary, or print that nothing has changed.

    Args:
        load: imports and returns the function that makes the flow (`flows.retrain.retrain_flow`), and the function that
            prints its result.

    Raises:
        UserError: the params are invalid, a refresh has no champion, or a step of the flow fails.
    """
    from flows.params import load_params
    from flows.server import has_server
    from flows.unchanged import Unchanged

    load_params(workspace)
    # With a server, the flow itself looks for changes, so that the server records every run.
    is_checked = not has_server()
    found = _find_unchanged(workspace, name, commit=commit, wait=wait) if is_checked else None
    if isinstance(found, Unchanged):
        _print_unchanged(workspace, found)
        return
    make_flow, print_result = load()
    from flows.effects import without_tracebacks
    from flows.stage import StageError

    without_tracebacks()
    try:
        done = make_flow(is_checked=is_checked, resolution=found)(str(workspace.root), commit=commit, wait=wait)
    except StageError as error:
        raise UserError(str(error)) from error
    if isinstance(done, Unchanged):
        _print_unchanged(workspace, done)
    else:
        print_result(console, workspace, done)


def _find_unchanged(
    workspace: Workspace, flow: "FlowName", *, commit: bool, wait: bool
) -> "Unchanged | Resolution | None":
    """Call `find_unchanged` under the lock of a run; raises UserError as it does, or if a refresh has no champion."""
    from flows.unchanged import find_unchanged
    from tasks.commit import require_clean
    from tasks.resolve import require_champion
    from tasks.workspace.lock import run_lock

    with run_lock(workspace, f"fclip {flow}", on_wait=_print_waiting if wait else None):
        if commit:
            require_clean(workspace)
        if flow == "refresh":
            require_champion(workspace)
        return find_unchanged(workspace, commit=commit, flow=flow)


def _print_unchanged(workspace: Workspace, unchanged: "Unchanged") -> None:
    at = datetime.fromisoformat(unchanged.completed_at)
    console.print(
        f"Nothing changed since the run of {at:%Y-%m-%d %H:%M} UTC: sources, base model, params, code and registry are "
        f"the same. No stage was recomputed.\nreport  {workspace.report}",
        highlight=False,
        soft_wrap=True,
    )


def _print_waiting(holder: str) -> None:
    console.print(f"Waiting: {holder}. `--no-wait` refuses instead.", highlight=False, soft_wrap=True)
