"""Put the report together: one HTML file that needs nothing else."""

from pathlib import Path
from typing import Any

from jinja2 import Environment

from fclip.evaluation.protocols.registry import direction, metric_label
from fclip.evaluation.table import EVALUATED_ROLES
from fclip.files import atomic_write
from fclip.pages import html
from fclip.report.inputs import MetricResult, ReportInputs
from fclip.report.plots import curves, of_candidates
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules

ROLE_ORDER = tuple(reversed(EVALUATED_ROLES))


def write_report(inputs: ReportInputs, path: Path) -> Path:
    """Render `inputs` to `path`: self-contained, no script, no address but its own. Returns `path`."""
    atomic_write(path, render(inputs))
    return path


def render(inputs: ReportInputs) -> str:
    """The page as text."""
    results = sorted(inputs.results, key=_order)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            inputs=inputs,
            headline=headline(inputs),
            evidence=evidence(inputs),
            primary=[result for result in results if result.primary],
            all_results=results,
            rules=_rules(inputs.selection),
            selected=inputs.scores.select,
            reported=inputs.scores.report,
            plots={
                **of_candidates(inputs.selection, inputs.scores),
                "curves": curves(inputs.training, inputs.selection),
            },
            num_refused=sum(ingest.num_refused for ingest in inputs.ingests),
        )
    )


def environment() -> Environment:
    """Where this folder's templates are rendered."""
    found = html.environment(Path(__file__).parent)
    found.filters["metric"] = metric_label
    found.filters["direction"] = direction
    found.tests["knows_answers"] = lambda metric: direction(metric) != 0
    return found


def headline(inputs: ReportInputs) -> str:
    """What became of the selected model, in one sentence."""
    gate = inputs.gate
    if gate.version is None:
        return "The base model stays: no fine-tuned model was registered."
    if gate.moved:
        return f"Version {gate.version} is the new champion."
    if gate.is_champion:
        return f"Version {gate.version} is champion already."
    return f"Version {gate.version} stays a challenger: the gate did not open."


def evidence(inputs: ReportInputs) -> str:
    """What data that chose nothing says of the selected model, outside data first; "" without such data."""
    reported = sorted((r for r in inputs.results if r.primary and r.role == "report"), key=_order)
    if not reported or inputs.gate.version is None:
        return ""
    told = ", ".join(f"{r.dataset} {r.before.value:.3f} to {r.after.value:.3f}" for r in reported)
    return f"From the base model to {inputs.selection.winner}, on data that chose nothing: {told}."


def _rules(selection: SelectionResult) -> list[dict[str, Any]]:
    """What each rule would have chosen; the rule in use first."""
    rows = [
        {"rule": rules()[kind], "candidate": selection.candidate(name), "used": kind == selection.rule}
        for kind, name in selection.choices.items()
    ]
    return sorted(rows, key=lambda row: not row["used"])


def _order(result: MetricResult) -> tuple[int, bool, str, bool, str]:
    """Reported data before data that selects, outside before in domain."""
    role = ROLE_ORDER.index(result.role) if result.role in ROLE_ORDER else len(ROLE_ORDER)
    return role, result.in_domain, result.dataset, not result.primary, result.metric
