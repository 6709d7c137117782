"""The page that compares two models: metrics, slices, classes and example images."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes

from fclip.evaluation.catalog import Catalog
from fclip.evaluation.outcomes import Floats, MeanOutcome
from fclip.evaluation.protocols.registry import direction, metric_label, protocols
from fclip.evaluation.protocols.task import SearchResults, TaskOutcome
from fclip.evaluation.run import Evaluation
from fclip.files import atomic_write
from fclip.pages.html import thumbnails
from fclip.pages.svg import COLOURS, svg
from fclip.report.build import report_environment
from fclip.report.changes import (
    ClassChange,
    MetricChange,
    SliceChange,
    class_changes,
    confusion_counts,
    flips,
    labelled_protocols,
    metric_changes,
    ranking_change,
    slice_changes,
    slice_values,
)
from fclip.report.plots import confusion_matrix

MAX_IMAGES = 5  # of a query
MAX_EXAMPLES = 4  # of each kind
MAX_ROWS = 12  # of slices and classes before the rest is folded
MIN_RELIABLE_ITEMS = 30
"""With fewer items, a difference is shown as unreliable."""


@dataclass(frozen=True)
class ResultImage:
    """The image of one search result; `source` is a data URI."""

    source: str
    title: str
    relevant: bool


@dataclass(frozen=True)
class QueryExample:
    """The results of one query for both models, and the reason why it is shown."""

    reason: str
    query: str
    before: tuple[ResultImage, ...]
    after: tuple[ResultImage, ...]


@dataclass(frozen=True)
class ProtocolView:
    """The changes under one protocol on one split.

    Attributes:
        lost, won: share of items that were correct and no longer are, and share that became correct.
        overlap, rbo: means of `RankingChange` over the queries; None for classification.
        sliced_by: label of the metric in `slices`.
        confusion: plot of the confusion matrix; "" without one.
    """

    split: str
    role: str
    protocol: str
    num_items: int
    lost: float
    won: float
    overlap: float | None
    rbo: float | None
    slices: tuple[SliceChange, ...]
    sliced_by: str
    classes: tuple[ClassChange, ...]
    confusion: str
    examples: tuple[QueryExample, ...]


Entry = TypeVar("Entry", MetricChange, ProtocolView)


@dataclass(frozen=True)
class ModelComparison:
    """The content of the page for one dataset.

    Attributes:
        headlines: one metric of each protocol on each split, splits with the role report first.
        forest: plot of the headline differences with their intervals.
        views: one for each protocol and split, splits with the role report first.
    """

    dataset: str
    before: str
    after: str
    changes: tuple[MetricChange, ...]
    headlines: tuple[MetricChange, ...]
    forest: str
    views: tuple[ProtocolView, ...]


def build_comparison(
    evaluation: Evaluation,
    catalog: Catalog,
    images_dir: Path,
    *,
    before: str,
    after: str,
    attributes: Sequence[str],
    newest: str | None,
    min_items: int,
) -> ModelComparison:
    """Compare two models of an evaluation.

    Args:
        attributes: product attributes that define the slices. newest: the attribute with the arrival time.
        min_items: smallest number of items of a slice.
    """
    roles = {entry.split: entry.role for entry in evaluation.scores}
    resampling = evaluation.options.resampling

    def slices_of(first: TaskOutcome, second: TaskOutcome, metric: str) -> tuple[SliceChange, ...]:
        return slice_changes(
            first,
            second,
            slice_values(second, catalog, attributes, newest),
            metric,
            min_items=min_items,
            resampling=resampling,
        )

    views = [
        _view(evaluation, place, roles[place[0]], catalog, images_dir, before, after, slices_of)
        for place in labelled_protocols(evaluation, after)
    ]
    all_changes = metric_changes(evaluation, before, after)
    headlines = _report_first([_headline(all_changes, view.split, view.protocol) for view in views])
    return ModelComparison(
        dataset=evaluation.dataset,
        before=display_name(before),
        after=display_name(after),
        changes=tuple(_report_first(all_changes)),
        headlines=tuple(headlines),
        forest=_forest(headlines, f"forest-{evaluation.dataset}"),
        views=tuple(_report_first(views)),
    )


def display_name(model: str) -> str:
    """Return a short name of a model: the last part of a path, the first 12 characters of a digest."""
    last = Path(model).name if Path(model).is_absolute() or model.count("/") > 1 else model
    return last[:12] if re.fullmatch("[0-9a-f]{40,}", last) else last


def _report_first(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda each: each.role != "report")


def _headline(all_changes: Sequence[MetricChange], split: str, protocol: str) -> MetricChange:
    by_metric = {each.metric: each for each in all_changes if (each.split, each.protocol) == (split, protocol)}
    declaration = protocols()[next(iter(by_metric.values())).kind]
    return by_metric[next(metric for metric in (*declaration.headlines, *by_metric) if metric in by_metric)]


def _forest(headlines: Sequence[MetricChange], name: str) -> str:
    """Plot the difference of each headline metric with its interval, on the splits of the first role."""
    shown = [change for change in headlines if change.role == headlines[0].role]
    labels = [f"{_protocol_name(change.protocol)} ({change.num_items:,})" for change in shown]

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=COLOURS["muted"], linewidth=1)
        for row, change in enumerate(shown):
            difference = change.difference
            better = difference.value * direction(change.metric) > 0
            colour = COLOURS["s3" if not difference.excludes_zero else "s1" if better else "s2"]
            alpha = 0.45 if change.num_items < MIN_RELIABLE_ITEMS else 1.0
            axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=2.2, alpha=alpha)
            axes.plot([difference.value], [row], marker="o", markersize=6, color=colour, alpha=alpha)
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("change, with confidence interval")

    return svg(name, draw, size=(6.4, 0.9 + 0.32 * len(shown)))


def _protocol_name(protocol: str) -> str:
    return protocol.replace("_", " ").replace(".", ": ")


def _view(
    evaluation: Evaluation,
    place: tuple[str, str],
    role: str,
    catalog: Catalog,
    images_dir: Path,
    before: str,
    after: str,
    slices_of: Callable[[TaskOutcome, TaskOutcome, str], tuple[SliceChange, ...]],
) -> ProtocolView:
    first, second = (evaluation.outcomes[model, *place] for model in (before, after))
    outcome = second.outcome
    sliced_by = outcome.success if isinstance(outcome, MeanOutcome) else "acc1"
    flipped = flips(first, second)
    num_items = outcome.num_items
    name = f"{evaluation.dataset}-{'-'.join(place)}".replace(".", "-").replace("_", "-")
    change = ranking_change(first, second) if second.search_results is not None else None
    return ProtocolView(
        split=place[0],
        role=role,
        protocol=place[1],
        num_items=num_items,
        lost=len(flipped.lost) / num_items,
        won=len(flipped.won) / num_items,
        overlap=None if change is None else float(change.overlap.mean()),
        rbo=None if change is None else float(change.rbo.mean()),
        slices=slices_of(first, second, sliced_by),
        sliced_by=metric_label(f"classification.{sliced_by}"),
        classes=class_changes(first, second) if second.classes else (),
        confusion=confusion_matrix(confusion_counts(second), second.classes, name) if second.classes else "",
        examples=_examples(first, second, change.rbo, catalog, images_dir) if change is not None else (),
    )


def _examples(
    before: TaskOutcome, after: TaskOutcome, rbo: Floats, catalog: Catalog, images_dir: Path
) -> tuple[QueryExample, ...]:
    """Return the queries with the largest loss, the largest gain and the most changed results, each query once."""
    ranks = [_reciprocal_rank(each) for each in (before, after)]
    gain = ranks[1] - ranks[0]
    chosen: dict[int, str] = {}
    for reason, key, applies in (
        ("loss", gain, gain < 0),
        ("gain", -gain, gain > 0),
        ("changed results", rbo, np.ones(len(gain), bool)),
    ):
        rows = [row for row in np.argsort(key, kind="stable") if applies[row] and row not in chosen]
        chosen |= {int(row): reason for row in rows[:MAX_EXAMPLES]}
    assert before.search_results is not None
    assert after.search_results is not None
    products = {product.product_id: product for product in catalog.products}
    both = (before.search_results, after.search_results)
    shown = {product_id for results in both for row in chosen for product_id in _product_ids(results, row)}
    sources = thumbnails(images_dir, {products[product_id].image for product_id in shown})

    def images(results: SearchResults, row: int) -> tuple[ResultImage, ...]:
        return tuple(
            ResultImage(sources[products[name].image], products[name].captions.get("title", name), bool(relevant))
            for name, relevant in zip(_product_ids(results, row), results.relevant[row], strict=False)
        )

    return tuple(
        QueryExample(reason, after.items[row], images(before.search_results, row), images(after.search_results, row))
        for row, reason in chosen.items()
    )


def _product_ids(results: SearchResults, row: int) -> list[str]:
    return [results.documents[document] for document in results.ranked[row][:MAX_IMAGES] if document >= 0]


def _reciprocal_rank(task: TaskOutcome) -> Floats:
    assert isinstance(task.outcome, MeanOutcome)
    return task.outcome.values["mrr"]


def write_comparison_page(
    comparisons: Sequence[ModelComparison], path: Path, *, plots: Mapping[str, str] | None = None
) -> Path:
    """Write the page to `path`, self-contained and without scripts. Return `path`.

    Args:
        plots: the result of `candidate_plots`, if both models are from one run.
    """
    environment = report_environment()
    environment.filters["protocol"] = _protocol_name
    plots = plots or {"domain": "", "scores": ""}
    page = environment.get_template("comparison.html.j2").render(
        comparisons=comparisons, most=MAX_ROWS, few=MIN_RELIABLE_ITEMS, plots=plots
    )
    atomic_write(path, page)
    return path
