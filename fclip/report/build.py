"""The retraining report: one self-contained HTML file."""

from pathlib import Path
from typing import Any

from jinja2 import Environment

from fclip.evaluation.protocols.registry import direction, held_label, metric_label
from fclip.evaluation.table import EVALUATED_ROLES
from fclip.files import atomic_write
from fclip.models.candidates import BASE_MODEL
from fclip.pages import html
from fclip.report.audits import audit_views, shown_models
from fclip.report.inputs import MetricResult, ReportInputs
from fclip.report.plots import candidate_plots, frontiers, loss_curves
from fclip.selection.preferences import PICKS
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules

ROLE_ORDER = tuple(reversed(EVALUATED_ROLES))
AUDITED_MODELS = (BASE_MODEL, "champion", "selected")


def write_report(inputs: ReportInputs, path: Path) -> Path:
    """Write the report to `path` as a self-contained page without scripts or remote addresses. Return `path`."""
    atomic_write(path, render_report(inputs))
    return path


def render_report(inputs: ReportInputs) -> str:
    """Return the report as HTML text."""
    results = sorted(inputs.results, key=_order)
    models = shown_models(inputs.audits, AUDITED_MODELS)
    return (
        report_environment()
        .get_template("report.html.j2")
        .render(
            inputs=inputs,
            headline=headline(inputs),
            result_summary=result_summary(inputs),
            primary=[result for result in results if result.primary],
            all_results=results,
            rules=_rules(inputs.selection),
            selected=inputs.scores.select,
            reported=inputs.scores.report,
            outside=inputs.scores.elsewhere(inputs.selection.in_domain_datasets),
            picks=PICKS,
            frontiers=frontiers(inputs.selection, inputs.scores),
            plots={
                **candidate_plots(inputs.selection, inputs.scores),
                "curves": loss_curves(inputs.training, inputs.selection),
            },
            audit_views=audit_views(inputs.audits, models),
            audited_models=models,
            num_refused=sum(ingest.num_refused for ingest in inputs.ingests),
        )
    )


def report_environment() -> Environment:
    """Return the Jinja environment for the templates of this folder."""
    environment = html.environment(Path(__file__).parent)
    environment.filters["metric"] = metric_label
    environment.filters["direction"] = direction
    environment.filters["held"] = held_label
    environment.tests["label_based"] = lambda metric: direction(metric) != 0
    return environment


def headline(inputs: ReportInputs) -> str:
    """Return one sentence about the outcome of the run: promoted, not promoted or not registered."""
    gate = inputs.gate
    if gate.version is None:
        return "No new version was registered: the base model was selected."
    if gate.moved:
        return f"Version {gate.version} is the new champion."
    if gate.is_champion:
        return f"Version {gate.version} is already the champion."
    refused = gate.decisions and gate.decisions[-1].kind == "refuse"
    why = "a person refused it" if refused else "it did not pass the gate"
    return f"Version {gate.version} remains a challenger: {why}."


def result_summary(inputs: ReportInputs) -> str:
    """Return one sentence with the primary metrics on report data, out-of-domain datasets first.

    Empty if there is no report data or no version was registered.
    """
    reported = sorted((r for r in inputs.results if r.primary and r.role == "report"), key=_order)
    if not reported or inputs.gate.version is None:
        return ""
    changes = ", ".join(f"{r.dataset} {r.before.value:.3f} to {r.after.value:.3f}" for r in reported)
    return f"On report data, the primary metric changed from the base model to {inputs.selection.winner}: {changes}."


def _rules(selection: SelectionResult) -> list[dict[str, Any]]:
    """Return the candidate that each rule selects, the configured rule first."""
    rows = [
        {"rule": rules()[kind], "candidate": selection.candidate(name), "configured": kind == selection.rule}
        for kind, name in selection.choices.items()
    ]
    return sorted(rows, key=lambda row: not row["configured"])


def _order(result: MetricResult) -> tuple[int, bool, str, bool, str]:
    """Sort key: report data before selection data, out-of-domain before in-domain datasets."""
    role = ROLE_ORDER.index(result.role) if result.role in ROLE_ORDER else len(ROLE_ORDER)
    return role, result.in_domain, result.dataset, not result.primary, result.metric
