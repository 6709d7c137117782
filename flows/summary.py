"""What a finished run shows in the terminal: steps, results, and where to look next."""

from rich.console import Console
from rich.table import Table

from flows.results import Result
from flows.retrain import Retraining
from tasks.params import Base, load_section
from tasks.paths import Workspace
from tasks.register import Receipt


def print_summary(console: Console, workspace: Workspace, done: Retraining) -> None:
    """Print the steps, the evaluation before and after, the version and alias, and how to open what came out."""
    base = load_section(workspace, "base", Base)
    console.print()
    console.print(_steps(done, base.registered_model))
    console.print(_results(done.results, done.selected))
    if not done.ran:
        console.print("Nothing changed: no stage was recomputed.\n")
    console.print(_next(workspace, done))


def _steps(done: Retraining, model: str) -> Table:
    table = Table("step", "what it did", box=None, title="retrain", title_justify="left")
    table.add_row(
        "resolve", f"new pins: {', '.join(done.resolution.changed)}" if done.resolution.changed else "unchanged"
    )
    for stage, seconds in done.ran.items():
        table.add_row(stage, f"ran, {seconds:.1f} s")
    if isinstance(done.registration, Receipt):
        how = "new" if done.registration.created else "already registered"
        table.add_row("register", f"version {done.registration.version} of {model} ({how})")
    else:
        table.add_row("register", f"nothing: {done.registration.reason}")
    if done.promotion:
        table.add_row("promote", done.promotion.reason)
    changed = "switched to" if done.publication.changed else "still on"
    table.add_row("publish", f"search is {changed} {done.publication.num_products} products' embeddings")
    if done.closing.commit:
        table.add_row("commit", done.closing.commit[:12] + (", pushed" if done.closing.git_pushed else ""))
    elif done.closing.changed:
        table.add_row("commit", f"not asked for; would commit {', '.join(done.closing.changed)}")
    return table


def _results(results: list[Result], selected: str) -> Table:
    table = Table(box=None, title=f"evaluation: before (start) and after ({selected})", title_justify="left")
    for heading, justify in (
        ("dataset", "left"),
        ("role", "left"),
        ("metric", "left"),
        ("items", "right"),
        ("before", "right"),
        ("after", "right"),
        ("change", "right"),
    ):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for r in results:
        style = "bold" if r.primary else None
        table.add_row(
            r.dataset,
            r.role,
            r.metric,
            str(r.num_items),
            _value(r.before, r.before_interval),
            _value(r.after, r.after_interval),
            f"{r.after - r.before:+.3f}",
            style=style,
        )
    table.caption = "bold: the metric that selects and gates; in brackets its bootstrap interval"
    return table


def _next(workspace: Workspace, done: Retraining) -> Table:
    from fclip.registry.backend import tracking_uri

    table = Table("look at", "with", box=None, title_justify="left", show_header=False)
    table.add_row("report", str(done.report))
    table.add_row("MLflow", f"mlflow ui --backend-store-uri {tracking_uri()}")
    table.add_row("DVC", "dvc metrics show · dvc plots show · dvc dag")
    table.add_row("search", 'fclip search "red summer dress"')
    table.add_row("", f"(tools in {workspace.root}/.venv/bin; `source .venv/bin/activate`)")
    return table


def _value(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"
