"""The report's plots."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from fclip.evaluation.outcomes import Ints
from fclip.pages.svg import COLOURS, svg
from fclip.report.inputs import CandidateScores, Training
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules

MOST_CLASSES = 24  # of a confusion matrix
SERIES = ("s1", "s2", "s4", "s3")


def of_candidates(selection: SelectionResult, scores: CandidateScores) -> dict[str, str]:
    """What is shown of a run's candidates: `trade_off`, `domain` and `scores`, each a plot, or ""."""
    return {
        "trade_off": trade_off(selection),
        "domain": in_domain_against_out_of_domain(selection, scores),
        "scores": scores_over_steps(selection, scores),
    }


def in_domain_against_out_of_domain(selection: SelectionResult, scores: CandidateScores) -> str:
    """Every candidate's score in domain against that on each outside dataset, averages smaller; "" without these."""
    outside = selection.out_of_domain_datasets
    if not outside:
        return ""
    winner = selection.selected
    best = max(candidate.in_domain for candidate in selection.candidates)

    def draw(axes: Axes) -> None:
        colours = _colours(selection)
        for name in outside:
            colour = colours[name]
            own = {each: found[name].value for each, found in scores.select.items() if name in found}
            points = [c for c in selection.path if c.name in own]
            x = [c.in_domain for c in points]
            y = [own[c.name] for c in points]
            axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.55, zorder=2)
            filled = [c.candidate.step > 0 for c in points]
            axes.scatter(
                [v for v, f in zip(x, filled, strict=True) if f],
                [v for v, f in zip(y, filled, strict=True) if f],
                s=26, color=colour, zorder=3, label=name,
            )  # fmt: skip
            others = [c for c in selection.candidates if not c.candidate.is_on_training_path and c.name in own]
            axes.scatter([c.in_domain for c in others], [own[c.name] for c in others],
                         s=9, color=colour, alpha=0.6, linewidth=0, zorder=2)  # fmt: skip
            axes.scatter(x[:1], y[:1], s=30, facecolor=COLOURS["paper"], edgecolor=colour, linewidth=1.5, zorder=4)
            if winner.name in own:
                axes.scatter(
                    [winner.in_domain], [own[winner.name]],
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
        axes.set_ylabel("outside")

    return svg("domain", draw, legend=True)


def trade_off(selection: SelectionResult) -> str:
    """Every candidate's score by the rule against its cost in domain, and who wins at every tolerance."""
    best = max(candidate.in_domain for candidate in selection.candidates)
    winner = selection.selected
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
                         label="near-ties")  # fmt: skip
        axes.scatter(*ringed, s=150, facecolor="none", edgecolor=COLOURS["ink"], linewidth=1.6, zorder=5)
        left, right = axes.get_xlim()
        if selection.in_domain_tolerance < right:
            axes.axvspan(selection.in_domain_tolerance, right, color=COLOURS["shade"], zorder=0, linewidth=0)
            axes.set_xlim(left, right)
        axes.set_xlabel("cost in domain: below the best there by")
        axes.set_ylabel(rules()[selection.rule].label)

    return svg("trade-off", draw, legend=True)


def scores_over_steps(selection: SelectionResult, scores: CandidateScores) -> str:
    """The primary metric on every dataset that selects, with its interval, over the candidates."""
    names = (*selection.in_domain_datasets, *selection.out_of_domain_datasets)

    def draw(axes: Axes) -> None:
        colours = _colours(selection)
        for name in names:
            colour = colours[name]
            points = [c for c in selection.path if name in scores.select.get(c.name, {})]
            steps = [c.candidate.step for c in points]
            own = [scores.select[c.name][name] for c in points]
            band = ([s.low for s in own], [s.high for s in own])
            axes.fill_between(steps, *band, color=colour, alpha=0.13, linewidth=0, zorder=1)
            axes.plot(steps, [s.value for s in own], color=colour, marker="o", markersize=4, linewidth=1.6,
                      zorder=3, label=name)  # fmt: skip
        _mark_step(axes, selection)
        axes.set_xlabel("step")
        axes.set_ylabel("primary metric")

    return svg("scores", draw, legend=True)


def curves(training: Training, selection: SelectionResult) -> str:
    """Training loss at every step, and the loss on in-domain validation at every candidate; "" without either."""
    if not training.loss and not training.validation:
        return ""

    def draw(axes: Axes) -> None:
        if training.loss:
            axes.plot(*zip(*training.loss, strict=True), color=COLOURS["muted"], linewidth=0.9, alpha=0.6, zorder=2,
                      label="training")  # fmt: skip
        if training.validation:
            axes.plot(*zip(*training.validation, strict=True), color=COLOURS["s1"], marker="o", markersize=4,
                      linewidth=1.6, zorder=3, label="validation, in domain")  # fmt: skip
        _mark_step(axes, selection)
        axes.set_xlabel("step")
        axes.set_ylabel("contrastive loss")

    return svg("curves", draw, legend=True)


def _mark_step(axes: Axes, selection: SelectionResult) -> None:
    winner = selection.selected.candidate
    axes.axvline(winner.step, color=COLOURS["muted"], linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    _label_line(axes, winner.step, winner.name)


def _label_line(axes: Axes, x: float, name: str) -> None:
    """The winner's name above the plot, where no point can be; pulled in at the edges."""
    left, right = axes.get_xlim()
    place = (x - left) / (right - left)
    side = "left" if place < 0.15 else "right" if place > 0.85 else "center"
    axes.annotate(
        name, (x, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 4), textcoords="offset points",
        ha=side, va="bottom", color=COLOURS["ink"],
    )  # fmt: skip


def _colours(selection: SelectionResult) -> dict[str, str]:
    """dataset -> its colour, the same in every plot."""
    names = (*selection.in_domain_datasets, *selection.out_of_domain_datasets)
    return {name: COLOURS[SERIES[i % len(SERIES)]] for i, name in enumerate(names)}


def confusion_matrix(counts: Ints, classes: Sequence[str], name: str) -> str:
    """For each true class the shares of the predicted ones, of the largest classes; "" for fewer than two classes.

    Args:
        counts: int [classes, classes], items by their true class and the predicted one.
    """
    largest = np.argsort(-counts.sum(axis=1), kind="stable")[:MOST_CLASSES]
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
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")

    return svg(f"confusion-{name}", draw, size=(6.4, 5.6), font=9)
