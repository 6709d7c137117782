"""The command `audit`, which measures known weaknesses of any model on any dataset."""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from fclip.errors import UserError
from flows.cli.evaluate import MODEL_FORMS, Limit, LocalCopy, ParamsFile, dataset_workspace
from flows.cli.here import workspace_here
from flows.cli.terminal import console
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from fclip.audits.result import AuditResult, Measure


def audit(
    model: Annotated[str, typer.Argument(help=f"The model to audit. {MODEL_FORMS}.")] = "selected",
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="A dataset in `evaluate.datasets`, or the name of a published dataset (see `fclip datasets`). "
            "Default: every dataset with the role train."
        ),
    ] = None,
    params: ParamsFile = None,
    path: LocalCopy = None,
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="HTML page to write. Default: in reports/comparisons/.")] = None,
    new: Annotated[
        Literal["types", "brands"] | None,
        typer.Option(
            "--new",
            help="Instead, train a second model without some types or brands of an in-domain dataset, and score it on "
            "them. It takes about as long as a retraining.",
        ),
    ] = None,
) -> None:
    """Measure known weaknesses of a model on reported products, beside the base model.

    Each audit gives a number (0 is perfect, higher is worse), its interval, the limit, and a summary in plain words. It
    says what the data does not allow to measure, and why. Nothing is selected, promoted or registered.

    Examples: `fclip audit` (the selected model), `fclip audit champion --json`, and for any model on a published
    dataset `fclip audit fclip-tiny marqo-kagl --path ../datasets/kagl --limit 2000`. What to expect of types that the
    shop adds later: `fclip audit --new types`.
    """
    from fclip.models.candidates import BASE_MODEL
    from fclip.report.audits import write_audit_page
    from tasks.audit import audit_in_domain, audit_on
    from tasks.model_evaluation import base_model_of, model_folder, same_weights

    workspace = workspace_here()
    if new is not None:
        if as_json or out or not (params is path is limit is None):
            raise UserError("--new takes no other option; it measures a dataset of the workspace")
        _measure_new(workspace, model, dataset, new)
        return
    if dataset is None and not (params is path is limit is None):
        raise UserError("--params, --path and --limit need a DATASET; name it after the model")
    folder, base = model_folder(workspace, model), base_model_of(workspace)
    models = {model: folder}
    if base is not None and not same_weights(base, folder):
        models = {BASE_MODEL: base, **models}
    if dataset is None:
        results = audit_in_domain(workspace, models)
    else:
        data = dataset_workspace(workspace, dataset, params, path, limit)
        results = audit_on(workspace, models, [dataset], data=data)
    if not results:
        raise UserError(
            "there is nothing to audit: no dataset has both the role train and the role report; assign them in "
            "ingest.datasets, or name a DATASET"
        )
    page = write_audit_page(results, list(models), out or workspace.audit_page(dataset or "in-domain", model))
    if as_json:
        values = [{**asdict(result), "status": result.status} for result in results]
        typer.echo(json.dumps(values, ensure_ascii=False, indent=2))
    else:
        _print(results, list(models))
    typer.echo(f"Wrote the page {page}", err=as_json)


def _measure_new(workspace: Workspace, model: str, dataset: str | None, what: Literal["types", "brands"]) -> None:
    """Train a second model without some values, and print its scores on them beside those of `model` and the base."""
    from fclip.models.candidates import BASE_MODEL
    from tasks import hold_out, new_values
    from tasks.base_model import find_base_model
    from tasks.model_evaluation import model_folder, same_weights
    from tasks.workspace.lock import run_lock
    from tasks.workspace.process import Preempted

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    folder = model_folder(workspace, model)
    plan = hold_out.plan_hold_out(workspace, what, dataset)
    seconds = new_values.seconds_of_last_run(workspace)
    duration = "no run here was timed" if seconds is None else f"about {max(1, round(seconds / 60))} minutes"
    console.print(
        f"New {what} on {plan.dataset}: a second model is trained and selected by the settings of params.yaml, on "
        f"{plan.num_others:,} products without {plan.num_left_out:,} of the {plan.attribute} {', '.join(plan.values)}. "
        f"It is scored on the {plan.num_held_out:,} reported products of these {what}. Duration: {duration}; an "
        "interrupted training resumes. Nothing is registered.\n",
        markup=False, highlight=False, soft_wrap=not console.is_terminal,
    )  # fmt: skip
    second, seen = f"without these {what}", f"{model} (has seen them)"
    with run_lock(workspace, "fclip audit --new"):
        try:
            space = new_values.train_without(workspace, plan)
        except Preempted as error:
            raise UserError(f"{error}; the same command resumes") from None
        base = find_base_model(space)
        models = {BASE_MODEL: base, second: space.selected}
        if not same_weights(base, folder):
            models[seen] = folder
        scores = new_values.measure_new_values(workspace, space, plan, models, second=second, base=BASE_MODEL)
    table = Table(title=f"new {what} on {escape(plan.dataset)}", title_justify="left", box=None)
    table.add_column("metric")
    for column in ("items", *models, f"second minus {BASE_MODEL}"):
        table.add_column(escape(column), justify="right")
    for score in scores:
        values = [score.by_model[name] for name in models]
        table.add_row(
            score.metric,
            str(score.num_items),
            *(f"{each.value:.3f} ({each.low:.3f}–{each.high:.3f})" for each in values),
            f"{score.gain.value:+.3f} ({score.gain.low:+.3f} to {score.gain.high:+.3f})",
        )
    console.print(table)


def _print(results: Sequence["AuditResult"], models: Sequence[str]) -> None:
    """Print a table of the headlines, and below it each summary and what could not be measured."""
    by_audit: dict[tuple[str, str, str], dict[str, AuditResult]] = {}
    for result in results:
        by_audit.setdefault((result.kind, result.dataset, result.split), {})[result.model] = result
    table = Table(title=f"audits of {escape(models[-1])}", title_justify="left", box=None)
    for column in ("audit", "data"):
        table.add_column(column)
    for column in (*models, "interval", "limit"):
        table.add_column(escape(column), justify="right")
    table.add_column("status")
    for (kind, dataset, split), by_model in by_audit.items():
        judged = by_model[models[-1]]
        table.add_row(
            kind,
            f"{dataset} {split}",
            *(_value(by_model[name].headline) for name in models),
            f"{judged.headline.low:.3f}–{judged.headline.high:.3f}" if judged.headline else "–",
            "none" if judged.limit is None else f"{judged.limit:.3f}",
            judged.status,
            style={"failed": "red", "not measured": "dim"}.get(judged.status),
        )
    console.print(table)
    console.print("0 is perfect, higher is worse; failed: the whole interval is above the limit\n", style="dim")
    for (kind, dataset, split), by_model in by_audit.items():
        judged = by_model[models[-1]]
        console.print(f"[bold]{kind}[/bold] {escape(f'{dataset} {split}')}", highlight=False)
        if judged.summary:
            console.print(escape(judged.summary), highlight=False)
        for reason in judged.not_measured:
            console.print(escape(f"Not measured: {reason}"), style="dim", highlight=False)
        console.print()


def _value(headline: "Measure | None") -> str:
    return "–" if headline is None else f"{headline.value:.3f}"
