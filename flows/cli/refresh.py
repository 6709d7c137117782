"""The commands `refresh` and `emit`."""

from typing import Annotated

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.cli.unchanged import find_unchanged_here, print_unchanged
from flows.events import EVENTS


def refresh(
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
    """Read the sources, embed what changed with the champion, and publish it for search. Nothing is trained."""
    from flows.params import load_params
    from flows.server import has_server
    from flows.unchanged import Unchanged

    workspace = workspace_here()
    load_params(workspace)
    # With a server, the flow itself looks for changes, so that the server records every run.
    is_checked = not has_server()
    found = find_unchanged_here(workspace, "refresh", commit=commit, wait=wait) if is_checked else None
    if isinstance(found, Unchanged):
        print_unchanged(workspace, found)
        return
    from flows.cli.summary import print_refresh
    from flows.effects import without_tracebacks
    from flows.refresh import refresh_flow
    from flows.stage import StageError

    without_tracebacks()
    try:
        done = refresh_flow(is_checked=is_checked, resolution=found)(str(workspace.root), commit=commit, wait=wait)
    except StageError as error:
        raise UserError(str(error)) from error
    if isinstance(done, Unchanged):
        print_unchanged(workspace, done)
    else:
        print_refresh(console, workspace, done)


def emit(
    event: Annotated[str, typer.Argument(help=f"What happened: {', '.join(EVENTS)}.")],
) -> None:
    """Send an event of this workspace to the Prefect server, where it starts the deployments that listen to it."""
    from flows.events import emit as send

    sent = send(workspace_here(), event)
    console.print(
        f"sent  {sent.name} {sent.id}\nof    {sent.resource}\nto    {sent.server}", highlight=False, soft_wrap=True
    )
