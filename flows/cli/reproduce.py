"""The command `reproduce`: compute a registered version again in a new workspace, and compare every digest."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fclip.errors import UserError
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from flows.cli.workspaces import checkout_workspace
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from fclip.registry.versions import Version
    from tasks.reproduce import Reproduction

Ending = Literal["restored", "run", "failed", "not run"]


def reproduce(
    version: Annotated[str, typer.Argument(help="Number or alias of a version in `fclip models`.")],
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of the new workspace. Default: beside this one, named after the version."),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", help="Run every stage again, with an empty DVC cache. Default: restore outputs."
        ),
    ] = False,
) -> None:
    """Compute a registered version again in a new workspace at its closing commit, and compare every digest.

    The stages run the code, params and pins of that commit. Outputs are restored from the DVC remote and cache, and
    stages run where that is not possible. Nothing is registered, promoted, published or committed. Exits with 1 if a
    digest is not equal.
    """
    from fclip.registry.store import find_version
    from tasks.reproduce import compare, recorded_outputs
    from tasks.workspace.params import Base, load_section

    home = workspace_here()
    found = find_version(load_section(home, "base", Base).registered_model, version)
    commit = closing_commit(found)
    path = (path or home.root.with_name(f"{home.root.name}-version-{found.version}")).resolve()
    workspace = checkout_workspace(home, path, commit, shared_cache=not from_scratch)
    try:
        _print(f"Created the workspace {workspace.root} at the closing commit {commit[:12]} of {found.pin.title}")
        recorded = recorded_outputs(workspace)
        if not from_scratch:
            _pull(workspace)
        endings = _run_stages(workspace)
        # DVC keeps the entries of stages that dvc.yaml had earlier; no run of this commit has them.
        result = compare(workspace, [each for each in recorded if each.stage in endings], found.model_sha256)
        _print_comparison(result, endings, found)
    finally:
        _print(f"The workspace remains. To remove it: git worktree remove --force {workspace.root}")
    if not result.is_equal:
        raise typer.Exit(1)


def closing_commit(version: "Version") -> str:
    """The closing commit of the run that registered `version`; raises UserError if there is none."""
    from fclip.registry import tags

    commit = version.tags.get(tags.CLOSING_COMMIT)
    if not commit:
        raise UserError(
            f"{version.pin.title} has no closing commit, because its run did not end with one; "
            "`fclip retrain --commit` makes one, also for a version that is registered already"
        )
    return commit


def _pull(workspace: Workspace) -> None:
    """Fetch and check out what the DVC remote has, if one is set. Stages run for what it does not have."""
    from flows.pipeline import stage_environment
    from tasks.commit import has_remote

    if not has_remote(workspace):
        return
    _print("Pulling from the DVC remote")
    command = [sys.executable, "-m", "dvc", "pull", "--quiet", "--allow-missing"]
    result = subprocess.run(
        command, cwd=workspace.root, env=stage_environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if result.returncode != 0:
        _print(f"`dvc pull` did not get everything: {(result.stderr or result.stdout).strip()}")


def _run_stages(workspace: Workspace) -> dict[str, Ending]:
    """Restore or run every stage of dvc.yaml, in order, and return how each ended.

    A stage that fails does not end the command: the stages that depend on it are left out.
    """
    from flows.live import follow_stage
    from flows.pipeline import read_pipeline
    from flows.pipeline_process import pipeline_process
    from tasks.workspace.lock import run_lock

    pipeline = read_pipeline(workspace)
    endings: dict[str, Ending] = {}
    with run_lock(workspace, "fclip reproduce"), pipeline_process(workspace) as process:
        for stage in pipeline.stages:
            error = ""
            if any(endings[parent] in ("failed", "not run") for parent in pipeline.parents[stage]):
                endings[stage] = "not run"
            elif error := follow_stage(process.run(stage), stage, typer.echo).outcome.error:
                endings[stage] = "failed"
            else:  # a stage writes its status; DVC alone does not
                endings[stage] = "run" if workspace.stage_status(stage).exists() else "restored"
            _print(f"{stage}: {endings[stage]}" + (f": {error}" if error else ""))
    return endings


def _print_comparison(result: "Reproduction", endings: Mapping[str, Ending], version: "Version") -> None:
    from rich.table import Table

    table = Table("stage", "output", "MiB", "recorded", "now", "result", "how", box=None)
    table.columns[2].justify = "right"
    order = list(endings)
    for output, comparison in sorted(result.outputs, key=lambda pair: order.index(pair[0].stage)):
        ending = endings[output.stage]
        table.add_row(
            output.stage,
            output.path,
            f"{output.num_bytes / 2**20:.1f}",
            comparison.recorded[:12],
            (comparison.found or "")[:12],
            comparison.result,
            "restored" if ending == "not run" and comparison.found else ending,  # the remote had it
            style=None if comparison.result == "equal" else "red",
        )
    console.print()
    console.print(table)
    console.print()
    results = [comparison.result for comparison in result.comparisons]
    now = f", now {result.model.found[:12]}" if result.model.found and result.model.result != "equal" else ""
    _print(f"weights of {version.pin.title}: {result.model.result} (registered {result.model.recorded[:12]}{now})")
    if result.is_equal:
        _print(f"Reproduced: all {len(results)} digests are equal.")
    else:
        counts = ", ".join(f"{results.count(each)} {each}" for each in ("equal", "different", "missing"))
        _print(f"Not reproduced: of {len(results)} digests, {counts}.")


def _print(line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
