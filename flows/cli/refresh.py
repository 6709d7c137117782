"""The commands `refresh` and `emit`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from flows.cli.flow_run import Commit, Wait, run_flow
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.events import EVENTS


def refresh(commit: Commit = False, wait: Wait = True) -> None:
    """Read the sources, embed what changed with the champion, and publish it for search. Nothing is trained."""
    run_flow(workspace_here(), "refresh", _load, commit=commit, wait=wait)


def _load() -> tuple[Callable[..., Any], Callable[..., None]]:
    from flows.cli.summary import print_refresh
    from flows.refresh import refresh_flow

    return refresh_flow, print_refresh


def emit(
    event: Annotated[str, typer.Argument(help=f"What happened: {', '.join(EVENTS)}.")],
) -> None:
    """Send an event of this workspace to the Prefect server, where it starts the deployments that listen to it."""
    from flows.events import emit as send

    sent = send(workspace_here(), event)
    console.print(
        f"sent  {sent.name} {sent.id}\nof    {sent.resource}\nto    {sent.server}", highlight=False, soft_wrap=True
    )
