"""The command `fclip`: run the loop, look at it, search with it. `python -m flows.cli` is the same command.

Every command works on the workspace of the current folder, with that workspace's own code.
"""

import os
import sys
from typing import Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from fclip.errors import UserError
from flows.export_commands import export_app
from flows.judge import compare, evaluate
from flows.study import study_app
from flows.terminal import console, errors, workspace_here
from flows.upkeep import cache_app, compact, workspace_app
from flows.workspaces import enter_workspace

# The libraries of a command take seconds to import, so each command imports its own: `fclip --help` is at once.

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Retrain CLIP on a product catalog, and prove that each new model is better before anyone uses it.

    A first run: `fclip retrain`, then `fclip status` and `fclip search "red summer dress"`.

    Your own catalog: `fclip workspace new ../mine --params params/table.yaml`, edit `../mine/params.yaml`,
    and run the same commands in `../mine`.
    """,
)
app.add_typer(workspace_app, name="workspace")
app.add_typer(cache_app, name="cache")
app.add_typer(export_app, name="export")
app.command("compact")(compact)
app.add_typer(study_app, name="study")
app.command("evaluate")(evaluate)
app.command("compare")(compare)

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "fclip,tasks",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(flow_run_name)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s | %(task_run_name)s | %(message)s",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # its first start makes a database
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    if debug:
        os.environ["FCLIP_DEBUG"] = "1"


@app.command()
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
        from flows.dry_run import dry_run as run

        run(workspace, console)
        return
    from flows.prefect_logs import without_tracebacks
    from flows.retrain import retrain as flow
    from flows.stage import StageError
    from flows.summary import print_summary

    without_tracebacks()
    try:
        print_summary(console, workspace, flow(str(workspace.root), commit=commit))
    except StageError as error:
        raise UserError(str(error)) from error


@app.command()
def stage(
    name: Annotated[str, typer.Argument(help="As in dvc.yaml: ingest@studio, finetune, evaluate, select …")],
) -> None:
    """Run one DVC stage and the stale ones before it (`dvc repro NAME`); it registers and promotes nothing."""
    import subprocess

    from flows.pipeline import read_pipeline
    from flows.stage import stage_environment
    from tasks.process import lock

    workspace = workspace_here()
    known = read_pipeline(workspace).stages
    targets = [stage for stage in known if name in (stage, stage.partition("@")[0])]
    if not targets:
        raise typer.BadParameter(f"no stage `{name}`: there are {', '.join(known)}", param_hint="NAME")
    with lock(workspace.run_lock, f"another run holds {workspace.root}: wait for it to end"):
        command = [sys.executable, "-m", "dvc", "repro", *targets]
        code = subprocess.run(command, cwd=workspace.root, env=stage_environment()).returncode
    raise typer.Exit(1 if code else 0)


@app.command()
def pin(
    follow_champion: Annotated[
        bool,
        typer.Option("--follow-champion", help="Let a warm start be the present champion, though no data changed."),
    ] = False,
) -> None:
    """Look at sources, start and champion, and write what was seen to pins/ (what `dvc repro` needs before it)."""
    from tasks.process import lock
    from tasks.resolve import resolve

    workspace = workspace_here()
    with lock(workspace.run_lock, f"another run holds {workspace.root}: wait for it to end"):
        resolution = resolve(workspace, follow_champion=follow_champion)
    for path in resolution.changed:
        console.print(f"pinned     {path}")
    for path in resolution.unchanged:
        console.print(f"unchanged  {path}")


@app.command()
def status() -> None:
    """What is stale, who is champion, what search reads."""
    from flows.status import read_status

    workspace = workspace_here()
    for label, said in read_status(workspace):
        console.print(f"[bold]{label:<11}[/bold] {said}", highlight=False)


@app.command()
def catalog(dataset: Annotated[str | None, typer.Argument(help="One of them; all without it.")] = None) -> None:
    """What the catalogs hold, to read before training: counts, gaps, classes, lengths, images, drift; and pages."""
    from flows.catalog import show_catalog

    show_catalog(workspace_here(), console, dataset)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What a customer would type.")],
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="How many products.")] = 10,
    model: Annotated[
        str | None, typer.Option(help="A registry version or alias; refused unless it made the published embeddings.")
    ] = None,
) -> None:
    """Search the published embeddings: exact cosine similarity of the query to every product's image."""
    from flows.search import search as run

    table = Table("", "product", "dataset", "score", "title", box=None)
    for rank, hit in enumerate(run(workspace_here(), query, k=k, model=model), start=1):
        table.add_row(str(rank), hit.product_id, hit.dataset, f"{hit.score:.3f}", hit.title)
    console.print(table)


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One of them, in full.")] = None,
) -> None:
    """The published datasets that are described: where they are, columns, label sets, tasks."""
    from flows.datasets import show_datasets

    show_datasets(console, name)


@app.command()
def models() -> None:
    """The registered versions: aliases, digests, scores."""
    from fclip.registry import store, tags
    from tasks.params import Base, load_section

    base = load_section(workspace_here(), "base", Base)
    versions = store.versions(base.registered_model)
    if not versions:
        console.print(f"{base.registered_model} has no version yet in {store.tracking_uri()}: run `fclip retrain`")
        return
    table = Table(
        "version", "alias", "created", "model_sha256", "commit", "note", title=base.registered_model, box=None
    )
    for version in versions:
        table.add_row(
            str(version.version),
            ", ".join(version.aliases),
            f"{version.created_at:%Y-%m-%d %H:%M}",
            version.model_sha256[:12],
            version.tags.get(tags.CLOSING_COMMIT, "")[:12],
            "rolled back" if version.rolled_back else "",
        )
    console.print(table)


@app.command()
def promote(
    force: Annotated[bool, typer.Option("--force", help="Even when the gate refuses, or after a rollback.")] = False,
) -> None:
    """Put the selected model to use, through the gate; then embed and publish by it."""
    _switch("promote", force=force)


@app.command()
def rollback() -> None:
    """Put the champion before this one back to use; then embed and publish by it."""
    _switch("rollback")


def main() -> None:
    """Entry point: one line an error, exit 1 (2 for wrong usage); a traceback only with --debug."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        enter_workspace(sys.argv[1:])
        app()
    except UserError as error:
        if os.environ.get("FCLIP_DEBUG"):
            raise
        errors.print(Text.assemble(("error: ", "red"), str(error)), soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)


def _switch(what: Literal["promote", "rollback"], *, force: bool = False) -> None:
    from flows.prefect_logs import without_tracebacks
    from flows.switch import switch

    without_tracebacks()
    switched = switch(workspace=str(workspace_here().root), what=what, force=force)
    if switched.refused:
        raise UserError(f"not promoted: {switched.said} (`--force` overrules this)")
    console.print(switched.said)


if __name__ == "__main__":
    main()
