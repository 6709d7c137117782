"""Two models on one dataset as a page: what changed, for whom, and pictures to look at."""

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
from fclip.evaluation.protocols.task import Found, TaskOutcome
from fclip.evaluation.run import Evaluation
from fclip.files import atomic_write
from fclip.pages.html import thumbnails
from fclip.pages.svg import COLOURS, svg
from fclip.report.build import environment
from fclip.report.changes import (
    Change,
    ClassChange,
    SliceChange,
    by_class,
    changes,
    confusion,
    flips,
    ranking_change,
    slices,
    values_of,
    with_answers,
)
from fclip.report.plots import confusion_matrix

SHOWN = 5  # pictures a query
EXAMPLES = 4  # of each kind
MOST_ROWS = 12  # of slices and classes, beside what is folded away
FEW = 30  # items; with fewer no difference is to be believed


@dataclass(frozen=True)
class Picture:
    """One found product; `source` is a data URI."""

    source: str
    title: str
    relevant: bool


@dataclass(frozen=True)
class Example:
    """What a query found before and after."""

    why: str
    query: str
    before: tuple[Picture, ...]
    after: tuple[Picture, ...]


@dataclass(frozen=True)
class View:
    """A protocol on a split.

    Attributes:
        lost, won: shares of the items that came out well before and no longer do, and the other way round.
        overlap, rbo: means over queries, of a search; None of a classification.
        confusion: a plot, or "".
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
    examples: tuple[Example, ...]


Shown = TypeVar("Shown", Change, View)


@dataclass(frozen=True)
class ModelComparison:
    """All that a page shows of a dataset.

    Attributes:
        headlines: one metric of each protocol on each split, splits that report first, as the views.
        forest: a plot of them.
    """

    dataset: str
    before: str
    after: str
    changes: tuple[Change, ...]
    headlines: tuple[Change, ...]
    forest: str
    views: tuple[View, ...]


def compare(
    evaluation: Evaluation,
    catalog: Catalog,
    images_dir: Path,
    *,
    before: str,
    after: str,
    attributes: Sequence[str],
    newest: str | None,
    least: int,
) -> ModelComparison:
    """What is to be shown of two models of an evaluation.

    Args:
        attributes: of products, by whose values scores are sliced. newest: that by which they are new arrivals.
        least: items of a slice.
    """
    roles = {entry.split: entry.role for entry in evaluation.scores}
    how = evaluation.options.resampling

    def sliced(first: TaskOutcome, second: TaskOutcome, metric: str) -> tuple[SliceChange, ...]:
        return slices(first, second, values_of(second, catalog, attributes, newest), metric, least=least, how=how)

    views = [
        _view(evaluation, place, roles[place[0]], catalog, images_dir, before, after, sliced)
        for place in with_answers(evaluation, after)
    ]
    every = changes(evaluation, before, after)
    headlines = _report_first([_headline(every, view.split, view.protocol) for view in views])
    return ModelComparison(
        dataset=evaluation.dataset,
        before=shown_name(before),
        after=shown_name(after),
        changes=tuple(_report_first(every)),
        headlines=tuple(headlines),
        forest=_forest(headlines, f"forest-{evaluation.dataset}"),
        views=tuple(_report_first(views)),
    )


def shown_name(model: str) -> str:
    """A model's name for people: of a path its last part, of a digest its beginning."""
    last = Path(model).name if Path(model).is_absolute() or model.count("/") > 1 else model
    return last[:12] if re.fullmatch("[0-9a-f]{40,}", last) else last


def _report_first(found: Sequence[Shown]) -> list[Shown]:
    return sorted(found, key=lambda each: each.role != "report")


def _headline(every: Sequence[Change], split: str, protocol: str) -> Change:
    own = {change.metric: change for change in every if (change.split, change.protocol) == (split, protocol)}
    declaration = protocols()[next(iter(own.values())).kind]
    return own[next(metric for metric in (*declaration.headlines, *own) if metric in own)]


def _forest(headlines: Sequence[Change], name: str) -> str:
    """Each headline's difference with its interval, by the dataset's first role."""
    shown = [change for change in headlines if change.role == headlines[0].role]
    labels = [f"{_protocol_name(change.protocol)} ({change.num_items:,})" for change in shown]

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=COLOURS["muted"], linewidth=1)
        for row, change in enumerate(shown):
            difference = change.difference
            better = difference.value * direction(change.metric) > 0
            colour = COLOURS["s3" if not difference.excludes_zero else "s1" if better else "s2"]
            faint = 0.45 if change.num_items < FEW else 1.0
            axes.plot([difference.low, difference.high], [row, row], color=colour, linewidth=2.2, alpha=faint)
            axes.plot([difference.value], [row], marker="o", markersize=6, color=colour, alpha=faint)
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("change, with its interval")

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
    sliced: Callable[[TaskOutcome, TaskOutcome, str], tuple[SliceChange, ...]],
) -> View:
    first, second = (evaluation.judged[model, *place] for model in (before, after))
    outcome = second.outcome
    sliced_by = outcome.success if isinstance(outcome, MeanOutcome) else "acc1"
    flipped = flips(first, second)
    num_items = outcome.num_items
    name = f"{evaluation.dataset}-{'-'.join(place)}".replace(".", "-").replace("_", "-")
    change = ranking_change(first, second) if second.found is not None else None
    return View(
        split=place[0],
        role=role,
        protocol=place[1],
        num_items=num_items,
        lost=len(flipped.lost) / num_items,
        won=len(flipped.won) / num_items,
        overlap=None if change is None else float(change.overlap.mean()),
        rbo=None if change is None else float(change.rbo.mean()),
        slices=sliced(first, second, sliced_by),
        sliced_by=metric_label(f"classification.{sliced_by}"),
        classes=by_class(first, second) if second.classes else (),
        confusion=confusion_matrix(confusion(second), second.classes, name) if second.classes else "",
        examples=_examples(first, second, change.rbo, catalog, images_dir) if change is not None else (),
    )


def _examples(
    before: TaskOutcome, after: TaskOutcome, rbo: Floats, catalog: Catalog, images_dir: Path
) -> tuple[Example, ...]:
    """Queries that lost most, won most, and whose first ten changed most, each once."""
    ranks = [_reciprocal_rank(judged) for judged in (before, after)]
    gain = ranks[1] - ranks[0]
    chosen: dict[int, str] = {}
    for why, key, fits in (
        ("lost", gain, gain < 0),
        ("won", -gain, gain > 0),
        ("most changed", rbo, np.ones(len(gain), bool)),
    ):
        rows = [row for row in np.argsort(key, kind="stable") if fits[row] and row not in chosen]
        chosen |= {int(row): why for row in rows[:EXAMPLES]}
    assert before.found is not None
    assert after.found is not None
    products = {product.product_id: product for product in catalog.products}
    shown = {name for found in (before.found, after.found) for row in chosen for name in _names(found, row)}
    sources = thumbnails(images_dir, {products[name].image for name in shown})

    def pictures(found: Found, row: int) -> tuple[Picture, ...]:
        return tuple(
            Picture(sources[products[name].image], products[name].captions.get("title", name), bool(relevant))
            for name, relevant in zip(_names(found, row), found.relevant[row], strict=False)
        )

    return tuple(
        Example(why, after.items[row], pictures(before.found, row), pictures(after.found, row))
        for row, why in chosen.items()
    )


def _names(found: Found, row: int) -> list[str]:
    return [found.documents[document] for document in found.ranked[row][:SHOWN] if document >= 0]


def _reciprocal_rank(judged: TaskOutcome) -> Floats:
    assert isinstance(judged.outcome, MeanOutcome)
    return judged.outcome.values["mrr"]


def write_page(comparisons: Sequence[ModelComparison], path: Path, *, plots: Mapping[str, str] | None = None) -> Path:
    """Render to `path`: self-contained, no script. Returns `path`.

    Args:
        plots: those `of_candidates`, where the two models are of one run.
    """
    shown = environment()
    shown.filters["protocol"] = _protocol_name
    plots = plots or {"domain": "", "scores": ""}
    page = shown.get_template("compared.html.j2").render(comparisons=comparisons, most=MOST_ROWS, few=FEW, plots=plots)
    atomic_write(path, page)
    return path
