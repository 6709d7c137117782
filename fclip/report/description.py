"""The description of a registered version, in Markdown: its selection, its results, and the choices of other rules.

The model card (`fclip.report.card`) has more than a registry takes as a description.
"""

from fclip.pages.wording import counted, signed
from fclip.registry.decisions import Decision
from fclip.report.inputs import CandidateScores
from fclip.report.markdown import Markdown, escape, table
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules

MAX_CHARS = 5000
"""The column `description` of a version in MLflow's database."""
DECISION = "**Decision.** "


def version_description(selection: SelectionResult, scores: CandidateScores) -> str:
    """Return the description of a version for the registry. Its last parts are left out if it would be too long."""
    parts = [
        f"**Selection.** {selection_in_words(selection)}",
        f"**Warning:** {escape(selection.warning)}." if selection.warning else "",
        _reported(selection, scores),
        rule_choices(selection, scores),
    ]
    text = ""
    for part in filter(None, parts):
        if len(text) + len(part) + 2 > MAX_CHARS:
            break
        text += f"{part}\n\n"
    return f"{text.rstrip()}\n" if text else f"{parts[0][: MAX_CHARS - 2]}…\n"


def with_decision(description: str, decision: Decision) -> str:
    """Return the description of a version with a decision as its first paragraph, in place of an earlier one.

    The last lines are left out if it would be too long.
    """
    first, _, rest = description.partition("\n\n")
    text = f"{DECISION}{escape(decision.words)}\n\n{rest if first.startswith(DECISION) else description}"
    return text if len(text) <= MAX_CHARS else text[:MAX_CHARS].rpartition("\n")[0]


def selection_in_words(selection: SelectionResult) -> Markdown:
    """Return what was selected from what, by which rule, and why."""
    num_checkpoints = len(selection.trajectory) - 1
    num_others = len(selection.candidates) - len(selection.trajectory)
    ties = ""
    if len(selection.near_ties) > 1:
        ties = (
            f" {len(selection.near_ties)} candidates are tied: the best one is not significantly better than the rest. "
            "The one closest to the base model was selected."
        )
    reason = escape(selection.reason.replace("->", "to"))
    return Markdown(
        f"{escape(selection.winner)} was selected from the base model, {counted(num_checkpoints, 'checkpoint')} "
        f"and {counted(num_others, 'other candidate')} (mostly weight averages). The rule was "
        f"{rules()[selection.rule].label}{_read_data(selection)}, and the preference was {escape(selection.prefer)}. "
        f"{_held_metrics(selection)}{ties} Reason: {reason}."
    )


def _read_data(selection: SelectionResult) -> Markdown:
    """What the rule read."""
    if rules()[selection.rule].in_domain_only:
        return Markdown(", which reads no other dataset")
    names = escape(", ".join(selection.out_of_domain_datasets) or "none")
    return Markdown(f" on the selection data of the out-of-domain datasets ({names})")


def _held_metrics(selection: SelectionResult) -> Markdown:
    held = escape(", ".join(selection.held_metrics or selection.in_domain_datasets) or "none")
    return Markdown(
        f"Candidates more than {100 * selection.in_domain_tolerance:g} points, or one standard error if that is more, "
        f"below the best one by a metric that is held in domain ({held}) were not eligible."
    )


def _reported(selection: SelectionResult, scores: CandidateScores) -> str:
    base, winner = (scores.report.get(name, {}) for name in (selection.base.name, selection.winner))
    changes = ", ".join(
        f"{escape(name)} {base[name].value:.3f} to {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        for name, score in winner.items()
        if name in base
    )
    if not changes:
        return ""
    return (
        "**Results on report data**, which was not used for any choice. Primary metric from the base model to this "
        f"version, with its confidence interval: {changes}."
    )


def rule_choices(selection: SelectionResult, scores: CandidateScores) -> Markdown:
    """Return a table of the candidates that the rules select; empty without results on report data."""
    winner = scores.report.get(selection.winner, {})
    names = [name for name in selection.out_of_domain_datasets if name in winner]
    if not names:
        return Markdown()
    rows = []
    for rule, chosen in selection.choices.items():
        cells = [signed(selection.candidate(chosen).in_domain - selection.selected.in_domain)]
        cells += [signed(scores.report[chosen][name].value - winner[name].value) for name in names]
        mark = " (configured)" if rule == selection.rule else ""
        rows.append([f"{rules()[rule].label}{mark}", chosen, *cells])
    return Markdown(
        "**The candidate that each rule selects**, with the difference from this version: in domain on selection data, "
        "other datasets on report data.\n\n"
        + table(["rule", "candidate", "in domain", *names], rows, num_text_columns=2)
    )
