"""The check before a run whether there is anything to do, without Prefect, which takes seconds to import."""

from datetime import datetime
from typing import TYPE_CHECKING

from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from flows.unchanged import FlowName, Unchanged
    from tasks.resolve import Resolution


def find_unchanged_here(
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


def print_unchanged(workspace: Workspace, unchanged: "Unchanged") -> None:
    """Print that nothing has changed, and since when."""
    at = datetime.fromisoformat(unchanged.completed_at)
    console.print(
        f"Nothing changed since the run of {at:%Y-%m-%d %H:%M} UTC: sources, base model, params, code and registry are "
        f"the same. No stage was recomputed.\nreport  {workspace.report}",
        highlight=False,
        soft_wrap=True,
    )


def _print_waiting(holder: str) -> None:
    console.print(f"Waiting: {holder}. `--no-wait` refuses instead.", highlight=False, soft_wrap=True)
