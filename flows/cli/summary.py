"""The terminal summaries of finished runs: steps, evaluation results, and where to find more."""

import csv
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from fclip.audits.result import read_audits
from fclip.evaluation.protocols.registry import metric_label
from fclip.files import read_json
from fclip.models.candidates import read_candidates
from fclip.registry import store
from fclip.registry.backend import tracking_uri
from fclip.selection.result import read_selection
from fclip.shifts.counts import read_counts
from flows.refresh import Refresh
from flows.results import ResultRow
from flows.retrain import Retraining
from tasks.commit import ClosingCommit
from tasks.publish import PublishedIndex
from tasks.register import Receipt
from tasks.resolve import Resolution
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace


def print_summary(console: Console, workspace: Workspace, done: Retraining) -> None:
    """Print the steps, the evaluation before and after, the registered version, and commands that show more."""
    base = load_section(workspace, "base", Base)
    console.print()
    console.print(_steps(workspace, done, base.registered_model))
    console.print(_results(done.results, done.selected))
    if not any(done.stages.values()):
        console.print("Nothing changed: no stage was recomputed.\n")
    console.print(_next(workspace, done))


def print_refresh(console: Console, workspace: Workspace, done: Refresh) -> None:
    """Print the steps of a refresh, and how many products changed."""
    table = _catalog_steps("refresh", workspace, done.resolution, done.stages)
    _add_publications(table, done.publications)
    table.add_row("products", "", str(done.changes or "all are new"))
    _add_closing(table, done.closing)
    console.print()
    console.print(table)
    if not any(done.stages.values()) and not any(each.changed for each in done.publications):
        console.print("Nothing changed: no stage was recomputed, and search uses the same index.")


def _catalog_steps(
    title: str, workspace: Workspace, resolution: Resolution, stages: Mapping[str, float | None]
) -> Table:
    table = Table("step", "seconds", "result", box=None, title=title, title_justify="left")
    table.columns[1].justify = "right"
    pins = ", ".join(resolution.changed)
    table.add_row("resolve", "", f"new pins: {pins}" if pins else "no pin changed")
    for stage, seconds in stages.items():
        table.add_row(stage, "cached" if seconds is None else f"{seconds:.1f}", describe_stage(workspace, stage))
    return table


def _add_publications(table: Table, publications: Sequence[PublishedIndex]) -> None:
    for each in publications:
        how = "search now uses a new index" if each.changed else "no change: search uses the same index"
        table.add_row("publish", "", f"{each.role}: {how} of {each.num_products:,} products ({each.reason})")


def _add_closing(table: Table, closing: ClosingCommit) -> None:
    if closing.commit:
        table.add_row("commit", "", closing.commit[:12] + (", pushed" if closing.git_pushed else ""))
    elif closing.changed:
        table.add_row("commit", "", f"skipped (use --commit); not committed: {', '.join(closing.changed)}")


def _steps(workspace: Workspace, done: Retraining, model: str) -> Table:
    table = _catalog_steps("retrain", workspace, done.resolution, done.stages)
    table.add_row("drift", "", done.drift.summary, style="yellow" if done.drift.warnings else None)
    if isinstance(done.registration, Receipt):
        how = "new" if done.registration.created else "already registered"
        version = done.registration.version
        aliases = next((entry.aliases for entry in store.versions(model) if entry.version == version), ())
        table.add_row("register", "", f"version {version} of {model} ({how}), aliases: {', '.join(aliases) or 'none'}")
    else:
        table.add_row("register", "", f"no new version: {done.registration.reason}")
    if done.promotion:
        table.add_row("promote", "", escape(done.promotion.reason))
    _add_publications(table, done.publications)
    _add_closing(table, done.closing)
    return table


def _results(results: list[ResultRow], selected: str) -> Table:
    table = Table(box=None, title=f"evaluation: before = base model, after = {selected}", title_justify="left")
    columns: dict[str, JustifyMethod] = {
        "dataset": "left", "role": "left", "metric": "left", "items": "right", "before": "right", "after": "right",
        "change": "right",
    }  # fmt: skip
    for heading, justify in columns.items():
        table.add_column(heading, justify=justify, no_wrap=heading != "dataset")
    for r in results:
        table.add_row(
            r.dataset,
            r.role,
            metric_label(r.metric, short=True) + (" *" if r.primary else ""),
            str(r.num_items),
            _value(r.before, r.before_interval),
            _value(r.after, r.after_interval),
            f"{r.after - r.before:+.3f}",
            style="bold" if r.primary else None,
        )
    table.caption = "* primary metric (used for selection and the gate); ± half the width of the confidence interval"
    table.caption_justify = "left"
    return table


def _next(workspace: Workspace, done: Retraining) -> Table:
    table = Table("look at", "with", box=None, title_justify="left", show_header=False)
    table.add_row("report", str(done.report))
    table.add_row("MLflow", f"mlflow ui --backend-store-uri {tracking_uri()}")
    table.add_row("DVC", "dvc metrics show · dvc plots show · dvc dag")
    table.add_row("search", 'fclip search "red summer dress"')
    if hint := _where_tools_are():
        table.add_row("", hint)
    return table


def _where_tools_are() -> str:
    """Where the commands are, unless the shell finds them."""
    tools = Path(sys.executable).parent
    if shutil.which("fclip") == str(tools / "fclip"):
        return ""
    activate = f"; run `source {tools / 'activate'}` first" if (tools / "activate").is_file() else ""
    return f"(the commands are in {tools}{activate})"


def _value(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"


def describe_stage(workspace: Workspace, stage: str) -> str:
    """One line about the current outputs of `stage`, for example `ingest@studio`."""
    kind, _, dataset = stage.partition("@")
    match kind:
        case "ingest":
            return _ingest(workspace.catalog(dataset) / "ingest.json")
        case "caption":
            return f"{pq.read_metadata(workspace.captions(dataset)).num_rows:,} products captioned"
        case "derive":
            return read_counts(workspace.derived(dataset)).summary
        case "gather":
            products = pq.read_metadata(workspace.training / "products.parquet").num_rows
            return f"{products:,} products of the training datasets"
        case "finetune":
            return _finetune(workspace.finetune / "validation.csv")
        case "average":
            return _average(workspace.averages / "candidates.json")
        case "evaluate" | "evaluate-derived":
            candidates = pq.read_table(workspace.evaluation(dataset), columns=["candidate"])["candidate"]
            return f"{len(candidates.unique())} candidates"
        case "select":
            selection = read_selection(workspace.selection)
            return f"{selection.winner}: {selection.reason}"
        case "audit":
            return _audit(workspace.audits)
        case "embed":
            manifest = read_json(workspace.embeddings / "manifest.json")
            return f"{manifest['num_products']:,} products embedded with model {manifest['model_sha256'][:12]}"
    return ""


def _ingest(path: Path) -> str:
    counts = read_json(path)
    splits = ", ".join(f"{split} {number:,}" for split, number in counts["splits"].items() if number)
    return f"{counts['num_products']:,} products ({splits}), {counts['num_refused']:,} rows refused"


def _audit(path: Path) -> str:
    results = [result for result in read_audits(path) if result.model == "selected"]
    counts = Counter(result.status for result in results)
    failed = ", ".join(f"{result.kind} on {result.dataset}" for result in results if result.status == "failed")
    counted = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
    return (counted or "nothing to audit") + (f" ({failed})" if failed else "")


def _average(path: Path) -> str:
    candidates = read_candidates(path)
    averages = Counter(candidate.kind for candidate in candidates if candidate.is_average)
    trained = len(candidates) - 1 - averages.total()
    kinds = "".join(f", {number} {kind}" for kind, number in averages.items())
    return f"{len(candidates)} candidates: the base model and {trained} from training{kinds}"


def _finetune(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val_loss"]) for row in rows]
    return f"{len(rows) - 1} candidates in {rows[-1]['step']} steps; validation loss {losses[0]:.3f} → {losses[-1]:.3f}"
