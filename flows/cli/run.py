"""Commands that run steps of the pipeline: `retrain`, `stage`, `pin`, `promote`, `rollback`."""

import sys
from typing import Annotated, Literal

import typer

from fclip.errors import UserError
from flows.cli.terminal import console, workspace_here


def retrain(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Push 200 rows a dataset through every stage, elsewhere; then estimate.")
    ] = False,
    commit: Annotated[
        bool, typer.Option("--commit/--no-commit", help="End with the closing commit (deployments do).")
    ] = False,
) -> None:
    """Run the whole loop: resolve, ingest, caption, finetune, evaluate, select, register, promote, embed, publish."""
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
    name: Annotated[str, typer.Argument(help="As in dvc.yaml: ingest@studio, finetune, evaluate, select …")],
) -> None:
    """Run one DVC stage and the stale ones before it (`dvc repro NAME`); it registers and promotes nothing."""
    import subprocess

    from flows.pipeline import read_pipeline, stage_environment
    from tasks.workspace.lock import lock

    workspace = workspace_here()
    known = read_pipeline(workspace).stages
    targets = [stage for stage in known if name in (stage, stage.partition("@")[0])]
    if not targets:
        raise typer.BadParameter(f"no stage `{name}`: there are {', '.join(known)}", param_hint="NAME")
    with lock(workspace.run_lock, f"another run holds {workspace.root}: wait for it to end"):
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        code = subprocess.run(command, cwd=workspace.root, env=stage_environment()).returncode
    raise typer.Exit(1 if code else 0)


def pin(
    follow_champion: Annotated[
        bool,
        typer.Option("--follow-champion", help="Let a warm start be the present champion, though no data changed."),
    ] = False,
) -> None:
    """Look at sources, base model and champion, and write what was seen to pins/ (what `dvc repro` needs before it)."""
    from tasks.resolve import resolve
    from tasks.workspace.lock import lock

    workspace = workspace_here()
    with lock(workspace.run_lock, f"another run holds {workspace.root}: wait for it to end"):
        resolution = resolve(workspace, follow_champion=follow_champion)
    for path in resolution.changed:
        console.print(f"pinned     {path}")
    for path in resolution.unchanged:
        console.print(f"unchanged  {path}")


def promote(
    force: Annotated[bool, typer.Option("--force", help="Even when the gate refuses, or after a rollback.")] = False,
) -> None:
    """Put the selected model to use, through the gate; then embed and publish by it."""
    _switch("promote", force=force)


def rollback() -> None:
    """Put the champion before this one back to use; then embed and publish by it."""
    _switch("rollback")


def _switch(what: Literal["promote", "rollback"], *, force: bool = False) -> None:
    from flows.effects import without_tracebacks
    from flows.switch import switch

    without_tracebacks()
    switched = switch(workspace=str(workspace_here().root), what=what, force=force)
    if switched.refused:
        raise UserError(f"not promoted: {switched.said} (`--force` overrules this)")
    console.print(switched.said)
