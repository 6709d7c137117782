"""Commands that run steps of the pipeline: `retrain`, `stage`, `pin`, `promote`, `rollback`."""

import sys
from typing import Annotated, Literal

import typer

from fclip.errors import UserError
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
    commit: Annotated[
        bool,
        typer.Option(
            "--commit/--no-commit",
            help="At the end, push the data to the DVC remote, commit dvc.lock and pins/ to git, and push.",
        ),
    ] = False,
) -> None:
    """Run the whole pipeline: read the sources, train, select, register, promote if better, and embed for search."""
    workspace = workspace_here()
    if dry_run:
        from flows.cli.dry_run import dry_run as run

        run(workspace, console)
        return
    from flows.cli.summary import print_summary
    from flows.effects import without_tracebacks
    from flows.retrain import retrain as flow
    from flows.stage import StageError

    without_tracebacks()
    try:
        print_summary(console, workspace, flow(str(workspace.root), commit=commit))
    except StageError as error:
        raise UserError(str(error)) from error


def stage(
    name: Annotated[
        str, typer.Argument(help="Stage of dvc.yaml, for example `finetune`, or `ingest@studio` for one dataset.")
    ],
) -> None:
    """Run one DVC stage and the stale stages before it (`dvc repro NAME`). Nothing is registered or promoted."""
    import subprocess

    from flows.pipeline import read_pipeline, stage_environment
    from tasks.workspace.lock import lock

    workspace = workspace_here()
    known = read_pipeline(workspace).stages
    targets = [stage for stage in known if name in (stage, stage.partition("@")[0])]
    if not targets:
        raise typer.BadParameter(f"no stage `{name}`; the stages are {', '.join(known)}", param_hint="NAME")
    with lock(workspace.run_lock, f"another run is in progress in {workspace.root}; wait until it ends"):
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        code = subprocess.run(command, cwd=workspace.root, env=stage_environment()).returncode
    raise typer.Exit(1 if code else 0)


def pin(
    follow_champion: Annotated[
        bool,
        typer.Option(
            "--follow-champion",
            help="Pin the current champion as the warm start. Default: only if the training data changed.",
        ),
    ] = False,
) -> None:
    """Record the current versions of the sources, base model and champion in pins/. Run it before `dvc repro`."""
    from flows.params import load_params
    from tasks.resolve import resolve
    from tasks.workspace.lock import lock

    workspace = workspace_here()
    load_params(workspace)  # a fault in a section that only a later stage reads is reported now
    with lock(workspace.run_lock, f"another run is in progress in {workspace.root}; wait until it ends"):
        resolution = resolve(workspace, follow_champion=follow_champion)
    for path in resolution.changed:
        console.print(f"pinned     {path}")
    for path in resolution.unchanged:
        console.print(f"unchanged  {path}")


def promote(
    force: Annotated[
        bool, typer.Option("--force", help="Promote even if the gate refuses or the model was rolled back.")
    ] = False,
) -> None:
    """Make the selected model the champion if it passes the gate. Then embed the catalog with it for search."""
    _switch("promote", force=force)


def rollback() -> None:
    """Make the previous champion the champion again. Then embed the catalog with it for search."""
    _switch("rollback")


def _switch(action: Literal["promote", "rollback"], *, force: bool = False) -> None:
    from flows.effects import without_tracebacks
    from flows.switch import switch

    without_tracebacks()
    switched = switch(workspace=str(workspace_here().root), action=action, force=force)
    if switched.refused:
        raise UserError(f"not promoted: {switched.reason}; `--force` overrides the refusal")
    console.print(switched.reason)
