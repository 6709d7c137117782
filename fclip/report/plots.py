"""Plots of the report and the comparison page, as SVG elements."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from fclip.evaluation.outcomes import Ints
from fclip.evaluation.protocols.registry import held_label
from fclip.pages.svg import COLOURS, svg
from fclip.report.inputs import CandidateScores, TrainingCurves
from fclip.selection.result import SelectionResult

MAX_CLASSES = 24  # of a confusion matrix
SHOWN_LOSS = 10.0
"""Candidates that lose more points in domain are not shown beside the picks, unless they are picks."""
MAX_LABEL = 40
SERIES = ("s1", "s2", "s4", "s3")


def candidate_plots(selection: SelectionResult, scores: CandidateScores) -> dict[str, str]:
    """Return the plots `domain` and `scores` of a run's candidates; "" for a plot without data."""
    return {
        "domain": in_domain_against_out_of_domain(selection, scores),
        "scores": scores_over_steps(selection, scores),
    }


def in_domain_against_out_of_domain(selection: SelectionResult, scores: CandidateScores) -> str:
    """Plot the in-domain against the out-of-domain scores of all candidates; "" without out-of-domain datasets."""
    out_of_domain = selection.out_of_domain_datasets
    if not out_of_domain:
        return ""
    winner = selection.selected
    best = max(candidate.in_domain for candidate in selection.candidates)

    def draw(axes: Axes) -> None:
        colours = _colours(selection)
        for name in out_of_domain:
            colour = colours[name]
            values = {each: by_dataset[name].value for each, by_dataset in scores.select.items() if name in by_dataset}
            points = [c for c in selection.trajectory if c.name in values]
            x = [c.in_domain for c in points]
            y = [values[c.name] for c in points]
            axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.55, zorder=2)
            filled = [c.candidate.step > 0 for c in points]
            axes.scatter(
                [v for v, f in zip(x, filled, strict=True) if f],
                [v for v, f in zip(y, filled, strict=True) if f],
                s=26, color=colour, zorder=3, label=name,
            )  # fmt: skip
            others = [c for c in selection.candidates if not c.candidate.is_on_training_path and c.name in values]
            axes.scatter([c.in_domain for c in others], [values[c.name] for c in others],
                         s=9, color=colour, alpha=0.6, linewidth=0, zorder=2)  # fmt: skip
            axes.scatter(x[:1], y[:1], s=30, facecolor=COLOURS["paper"], edgecolor=colour, linewidth=1.5, zorder=4)
            if winner.name in values:
                axes.scatter(
                    [winner.in_domain], [values[winner.name]],
                    s=150, facecolor="none", edgecolor=COLOURS["ink"], linewidth=1.6, zorder=5,
                )  # fmt: skip
        left, right = axes.get_xlim()
        threshold = best - selection.in_domain_tolerance
        if threshold > left:
            axes.axvspan(left, threshold, color=COLOURS["shade"], zorder=0, linewidth=0)
            axes.set_xlim(left, right)
        axes.axvline(winner.in_domain, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
        _label_line(axes, winner.in_domain, winner.name)
        axes.set_xlabel(f"in domain: {', '.join(selection.in_domain_datasets) or 'none'}")
        axes.set_ylabel("out of domain")

    return svg("domain", draw, legend=True)


def frontiers(selection: SelectionResult, scores: CandidateScores) -> list[str]:
    """Plot what candidates lose by each held metric against their scores elsewhere, with the three picks.

    Elsewhere is the mean over the other datasets with report data. Without any it is the distance from the base model,
    which is 0 at the top. Empty for the result of an older version.
    """
    elsewhere, label = _elsewhere(selection, scores)
    return [
        _frontier(selection, metric, number, elsewhere, label) for number, metric in enumerate(selection.held_metrics)
    ]


def _elsewhere(selection: SelectionResult, scores: CandidateScores) -> tuple[dict[str, float], str]:
    """The vertical coordinate of the candidates in `frontiers`, by name, and its label."""
    names = scores.elsewhere(selection.in_domain_datasets)
    measured = {
        candidate: np.mean([values[name].value for name in names])
        for candidate, values in scores.report.items()
        if names and set(names) <= set(values)
    }
    if measured:
        return {name: float(value) for name, value in measured.items()}, f"mean on {', '.join(names)}"
    far = {each.name: each.candidate.distance for each in selection.candidates}
    return {name: -distance for name, distance in far.items() if distance is not None}, "distance from the base model"


def _frontier(selection: SelectionResult, metric: str, number: int, elsewhere: Mapping[str, float], label: str) -> str:
    shown = [each for each in selection.candidates if each.name in elsewhere and metric in each.held]
    losses = {each.name: 100 * each.held[metric].deficit for each in shown}
    picked: dict[str, list[str]] = {}
    for choice in selection.picks:
        if choice.winner in losses and choice.prefer:
            picked.setdefault(choice.winner, []).append(choice.prefer)
    far = max([SHOWN_LOSS, *(1.2 * losses[name] for name in picked)])
    shown = [each for each in shown if losses[each.name] <= far]

    def draw(axes: Axes) -> None:
        for kind, on_path, marker in (("checkpoints", True, "o"), ("averages", False, "D")):
            names = [each.name for each in shown if each.candidate.is_on_training_path == on_path]
            if names:
                axes.scatter([losses[name] for name in names], [elsewhere[name] for name in names], marker=marker,
                             s=26 if on_path else 16, color=COLOURS["s1" if on_path else "s2"], zorder=3,
                             label=kind)  # fmt: skip
        for name, preferences in picked.items():
            at = (losses[name], elsewhere[name])
            chosen = name == selection.winner
            axes.scatter(*at, s=150, facecolor="none", edgecolor=COLOURS["ink" if chosen else "muted"],
                         linewidth=1.6 if chosen else 0.9, zorder=5)  # fmt: skip
            axes.annotate(", ".join(preferences), at, xytext=(9, 7), textcoords="offset points",
                          color=COLOURS["ink" if chosen else "muted"])  # fmt: skip
        axes.set_xlabel(f"loss in domain, in points: {held_label(metric)}")
        axes.set_ylabel(label if len(label) < MAX_LABEL else "mean on the other datasets")
        if label.startswith("distance"):
            axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.2g}")

    return svg(f"frontier-{number}", draw, legend=True)


def scores_over_steps(selection: SelectionResult, scores: CandidateScores) -> str:
    """Plot the primary metric on the selection data of each dataset, with its interval, over the training steps."""
    names = (*selection.in_domain_datasets, *selection.out_of_domain_datasets)

    def draw(axes: Axes) -> None:
        colours = _colours(selection)
        for name in names:
            colour = colours[name]
            points = [c for c in selection.trajectory if name in scores.select.get(c.name, {})]
            steps = [c.candidate.step for c in points]
            values = [scores.select[c.name][name] for c in points]
            band = ([s.low for s in values], [s.high for s in values])
            axes.fill_between(steps, *band, color=colour, alpha=0.13, linewidth=0, zorder=1)
            axes.plot(steps, [s.value for s in values], color=colour, marker="o", markersize=4, linewidth=1.6,
                      zorder=3, label=name)  # fmt: skip
        _mark_step(axes, selection)
        axes.set_xlabel("step")
        axes.set_ylabel("primary metric")

    return svg("scores", draw, legend=True)


def loss_curves(training: TrainingCurves, selection: SelectionResult) -> str:
    """Plot the training loss and the in-domain validation loss over the steps; "" without losses."""
    if not training.loss and not training.validation:
        return ""

    def draw(axes: Axes) -> None:
        if training.loss:
            axes.plot(*zip(*training.loss, strict=True), color=COLOURS["muted"], linewidth=0.9, alpha=0.6, zorder=2,
                      label="training")  # fmt: skip
        if training.validation:
            axes.plot(*zip(*training.validation, strict=True), color=COLOURS["s1"], marker="o", markersize=4,
                      linewidth=1.6, zorder=3, label="in-domain validation")  # fmt: skip
        _mark_step(axes, selection)
        axes.set_xlabel("step")
        axes.set_ylabel("contrastive loss")

    return svg("curves", draw, legend=True)


def _mark_step(axes: Axes, selection: SelectionResult) -> None:
    winner = selection.selected.candidate
    axes.axvline(winner.step, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    _label_line(axes, winner.step, winner.name)


def _label_line(axes: Axes, x: float, name: str) -> None:
    """Write `name` above the plot at `x`, aligned so that it stays within the plot's width."""
    left, right = axes.get_xlim()
    position = (x - left) / (right - left)
    alignment = "left" if position < 0.15 else "right" if position > 0.85 else "center"
    axes.annotate(
        name, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
        ha=alignment, va="bottom", color=COLOURS["ink"],
    )  # fmt: skip


def _colours(selection: SelectionResult) -> dict[str, str]:
    """Return dataset -> colour, the same in every plot."""
    names = (*selection.in_domain_datasets, *selection.out_of_domain_datasets)
    return {name: COLOURS[SERIES[i % len(SERIES)]] for i, name in enumerate(names)}


def confusion_matrix(counts: Ints, classes: Sequence[str], name: str) -> str:
    """Plot the confusion matrix of the `MAX_CLASSES` largest classes; "" for fewer than two classes.

    Args:
        counts: int [classes, classes], number of items by true class (row) and predicted class (column).
    """
    largest = np.argsort(-counts.sum(axis=1), kind="stable")[:MAX_CLASSES]
    chosen = sorted(int(number) for number in largest if counts[number].sum())
    if len(chosen) < 2:
        return ""
    shares = counts[np.ix_(chosen, chosen)] / counts[chosen].sum(axis=1, keepdims=True)
    labels = [classes[number] for number in chosen]

    def draw(axes: Axes) -> None:
        axes.grid(visible=False)
        rows, columns = np.nonzero(shares > 0.005)
        axes.scatter(
            columns, rows, s=180 * shares[rows, columns] * (12 / len(chosen)) ** 2, marker="s", linewidth=0,
            color=[COLOURS["s1" if row == column else "s2"] for row, column in zip(rows, columns, strict=True)],
        )  # fmt: skip
        axes.set_xticks(range(len(chosen)), labels, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(chosen)), labels)
        axes.set_xlim(-0.6, len(chosen) - 0.4)
        axes.set_ylim(len(chosen) - 0.4, -0.6)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")

    return svg(f"confusion-{name}", draw, size=(6.4, 5.6), font=9)
