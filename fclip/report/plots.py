"""Plots of the report and the comparison page, as SVG elements."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from fclip.evaluation.outcomes import Ints
from fclip.pages.svg import COLOURS, svg
from fclip.report.inputs import CandidateScores, TrainingCurves
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules

MAX_CLASSES = 24  # of a confusion matrix
SERIES = ("s1", "s2", "s4", "s3")


def candidate_plots(selection: SelectionResult, scores: CandidateScores) -> dict[str, str]:
    """Return the plots `trade_off`, `domain` and `scores` of a run's candidates; "" for a plot without data."""
    return {
        "trade_off": trade_off(selection),
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


def trade_off(selection: SelectionResult) -> str:
    """Plot each candidate's score by the rule against its in-domain cost, and the best score at each tolerance.

    For a rule that prefers the base model, the vertical axis is the distance from it, which is 0 at the top.
    """
    best = max(candidate.in_domain for candidate in selection.candidates)
    winner = selection.selected
    rule = rules()[selection.rule]
    far = max(3 * selection.in_domain_tolerance, 0.1, best - winner.in_domain)
    scored = [
        (best - c.in_domain, c.score, c)
        for c in selection.candidates
        if c.score is not None and best - c.in_domain <= far
    ]
    if winner.score is None or len(scored) < 2:
        return ""
    ringed = (best - winner.in_domain, winner.score)
    frontier: list[tuple[float, float]] = []
    for cost, score, _ in sorted(scored, key=lambda each: (each[0], -each[1])):
        if not frontier or score > frontier[-1][1]:
            frontier.append((cost, score))

    def draw(axes: Axes) -> None:
        for label, on_path, marker in (("checkpoints", True, "o"), ("averages", False, "D")):
            points = [(cost, score) for cost, score, c in scored if c.candidate.is_on_training_path == on_path]
            if points:
                x, y = zip(*points, strict=True)
                axes.scatter(x, y, s=26 if on_path else 16, marker=marker, color=COLOURS["s1" if on_path else "s2"],
                             zorder=3, label=label)  # fmt: skip
        axes.step(*zip(*frontier, strict=True), where="post", color=COLOURS["muted"], linewidth=1.2, zorder=2,
                  label="best at each tolerance")  # fmt: skip
        ties = [(cost, score) for cost, score, c in scored if c.name in selection.near_ties]
        if len(ties) > 1:
            x, y = zip(*ties, strict=True)
            axes.scatter(x, y, s=70, facecolor="none", edgecolor=COLOURS["muted"], linewidth=0.8, zorder=4,
                         label="near ties")  # fmt: skip
        axes.scatter(*ringed, s=150, facecolor="none", edgecolor=COLOURS["ink"], linewidth=1.6, zorder=5)
        left, right = axes.get_xlim()
        if selection.in_domain_tolerance < right:
            axes.axvspan(selection.in_domain_tolerance, right, color=COLOURS["shade"], zorder=0, linewidth=0)
            axes.set_xlim(left, right)
        axes.set_xlabel("in-domain cost: distance to the best in-domain score")
        axes.set_ylabel(rule.label)
        if rule.prefers_base:  # its score is the negative distance
            axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.2g}")

    return svg("trade-off", draw, legend=True)


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
