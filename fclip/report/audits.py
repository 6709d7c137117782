"""The audits of several models side by side, for the report, the model card and the page of `fclip audit`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes

from fclip.audits.registry import audits
from fclip.audits.result import AuditResult, Measure
from fclip.files import atomic_write
from fclip.pages import html
from fclip.pages.svg import COLOURS, svg

SERIES = {1: ("s1",), 2: ("s3", "s1"), 3: ("s3", "s4", "s1")}  # colours by number of models
OFFSET = 0.22  # between the models at one measure, in rows


@dataclass(frozen=True)
class AuditPlot:
    """A plot of the measures with one heading, as an SVG element."""

    heading: str
    plot: str


@dataclass(frozen=True)
class AuditView:
    """One audit on one split.

    Attributes:
        label, question: of the audit.
        results: by model, in the order of the models; None if there is no result.
        judged: the result that the status and the summary are of: that of the last model.
        plots: one for each heading of measures.
    """

    label: str
    question: str
    dataset: str
    split: str
    results: tuple[AuditResult | None, ...]
    judged: AuditResult
    plots: tuple[AuditPlot, ...]


def audit_views(results: Sequence[AuditResult], models: Sequence[str]) -> tuple[AuditView, ...]:
    """Return the audits of `models` side by side, in the order of `results`. The last model is the one to judge."""
    views = []
    order = {kind: number for number, kind in enumerate(audits())}

    def key(result: AuditResult) -> tuple[int, str, str, str]:
        return order.get(result.kind, len(order)), result.kind, result.dataset, result.split

    for (_, kind, dataset, split), group in groupby(sorted(results, key=key), key=key):
        by_model = {result.model: result for result in group}
        own = tuple(by_model.get(model) for model in models)
        judged = next((result for result in reversed(own) if result is not None), None)
        if judged is None:
            continue
        declared = audits().get(kind)
        name = f"audit-{kind}-{dataset}-{split}"
        views.append(
            AuditView(
                label=declared.label if declared else kind,
                question=declared.question if declared else "",
                dataset=dataset,
                split=split,
                results=own,
                judged=judged,
                plots=_plots(name, [result for result in own if result is not None], models),
            )
        )
    return tuple(views)


def write_audit_page(results: Sequence[AuditResult], models: Sequence[str], path: Path) -> Path:
    """Write the page with the audits of `models`, self-contained and without scripts, to `path`. Return `path`."""
    template = html.environment(Path(__file__).parent).get_template("audit.html.j2")
    atomic_write(path, template.render(views=audit_views(results, models), models=models))
    return path


def shown_models(results: Iterable[AuditResult], models: Sequence[str]) -> tuple[str, ...]:
    """Return those of `models` that have results, in their order."""
    present = {result.model for result in results}
    return tuple(model for model in models if model in present)


def _plots(name: str, results: Sequence[AuditResult], models: Sequence[str]) -> tuple[AuditPlot, ...]:
    headings = dict.fromkeys(measure.group for result in results for measure in result.measures)
    return tuple(
        AuditPlot(heading, _plot(f"{name}-{number}", heading, results, models))
        for number, heading in enumerate(headings)
    )


def _plot(name: str, heading: str, results: Sequence[AuditResult], models: Sequence[str]) -> str:
    """Plot the measures with a heading: a row for each measure, and in it a point with its interval for each model."""
    series: dict[str, dict[str, Measure]] = {
        result.model: {measure.name: measure for measure in result.measures if measure.group == heading}
        for result in results
    }
    labels = {each.name: each.label for measures in series.values() for each in measures.values()}
    rows = {measure: row for row, measure in enumerate(labels)}
    shown = [model for model in models if series.get(model)]

    def draw(axes: Axes) -> None:
        for number, model in enumerate(shown):
            measures = series[model]
            shift = (number - (len(shown) - 1) / 2) * OFFSET
            colour = COLOURS[SERIES[len(models)][models.index(model)]]
            points = [(each.value, rows[each.name] + shift) for each in measures.values()]
            lows = [max(0.0, each.value - each.low) for each in measures.values()]
            highs = [max(0.0, each.high - each.value) for each in measures.values()]
            axes.errorbar(
                [x for x, _ in points], [y for _, y in points], xerr=[lows, highs],
                fmt="o", markersize=5, color=colour, elinewidth=1.4, label=model, zorder=3,
            )  # fmt: skip
        left, right = axes.get_xlim()
        if left < 0 < right:
            axes.axvline(0, color=COLOURS["muted"], linewidth=0.9, zorder=1)
        axes.set_yticks(range(len(labels)), list(labels.values()))
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        longest = max(map(len, labels.values()), default=0)
        axes.locator_params(axis="x", nbins=max(2, 6 - longest // 10))  # long labels leave little width

    height = 0.9 + (0.26 + OFFSET * (len(shown) - 1)) * len(labels)
    return svg(name, draw, legend=True, size=(5.6, height))
