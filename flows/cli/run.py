"""Commands that run single steps of the pipeline: `stage`, `pin`, `promote`, `rollback`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.lock import run_lock
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from fclip.registry.decisions import Decision


def stage(
    name: Annotated[
        str, typer.Argument(help="Stage of dvc.yaml, for example `finetune`, or `ingest@studio` for one dataset.")
    ],
) -> None:
    """Run one DVC stage and the stale stages before it (`dvc repro NAME`). Nothing is registered or promoted."""
    from flows.live import follow_stage
    from flows.pipeline import read_pipeline
    from flows.pipeline_process import pipeline_process

    workspace = workspace_here()
    pipeline = read_pipeline(workspace)
    targets = [stage for stage in pipeline.stages if name in (stage, stage.partition("@")[0])]
    if not targets:
        raise typer.BadParameter(f"no stage `{name}`; the stages are {', '.join(pipeline.stages)}", param_hint="NAME")
    wanted = frozenset().union(*map(pipeline.up_to, targets))
    with run_lock(workspace, f"fclip stage {name}"), pipeline_process(workspace) as process:
        for stage in [each for each in pipeline.stages if each in wanted]:
            outcome = follow_stage(process.run(stage), stage, typer.echo).outcome
            if outcome.error:
                raise UserError(f"{stage}: {outcome.error}")
            console.print(f"{stage}: {'done' if outcome.changed else 'up to date'}", highlight=False)


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

    workspace = workspace_here()
    load_params(workspace)  # a fault in a section that only a later stage reads is reported now
    with run_lock(workspace, "fclip pin"):
        resolution = resolve(workspace, follow_champion=follow_champion)
    for path in resolution.changed:
        console.print(f"pinned     {path}")
    for path in resolution.unchanged:
        console.print(f"unchanged  {path}")


def promote(
    override: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Promote although the gate or a person refused it, or it was rolled back. The reason is recorded.",
        ),
    ] = None,
    refuse: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Record that the selected model must not be promoted, and why. Nothing else happens."
        ),
    ] = None,
) -> None:
    """Make the selected model the champion if it passes the gate. Then embed the catalog with it for search."""
    from fclip.registry.decisions import new_decision

    if override is not None and refuse is not None:
        raise typer.BadParameter("give only one of them", param_hint="--override, --refuse")
    if refuse is not None:
        _refuse(new_decision("refuse", refuse))
    else:
        _switch("promote", new_decision("override", override) if override is not None else None)


def rollback() -> None:
    """Make the previous champion the champion again. Then embed the catalog with it for search."""
    _switch("rollback")


def _refuse(decision: "Decision") -> None:
    from tasks.promote import refuse

    workspace = workspace_here()
    with run_lock(workspace, "fclip promote --refuse"):
        refused = refuse(workspace, decision)
    console.print(f"{refused.title} was {decision.words}", markup=False, highlight=False)


def _switch(action: Literal["promote", "rollback"], override: "Decision | None" = None) -> None:
    workspace = workspace_here()
    if action == "rollback":
        _print_rollback(workspace)
    from flows.effects import without_tracebacks
    from flows.switch import switch

    without_tracebacks()
    switched = switch(workspace=str(workspace.root), action=action, override=override)
    if switched.refused:
        raise UserError(
            f"not promoted: {switched.reason}. `--override REASON` promotes what the gate or a person refused"
        )
    console.print(switched.reason, markup=False)


def _print_rollback(workspace: Workspace) -> None:
    """Print what a rollback will do; raises UserError if there is no previous champion."""
    from fclip.registry.champion_alias import find_previous
    from fclip.registry.store import versions
    from tasks.workspace.params import Base, load_section

    name = load_section(workspace, "base", Base).registered_model
    current, previous = find_previous(name, versions(name))
    console.print(f"Rolling back from version {current.version} to version {previous.version} of {name}")
