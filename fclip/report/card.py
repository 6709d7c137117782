"""The model card of a registered version, in Markdown: how it was selected, and the choices of the other rules."""

from fclip.pages.wording import counted, signed
from fclip.report.inputs import CandidateScores
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules


def model_card(selection: SelectionResult, scores: CandidateScores) -> str:
    """Return the Markdown description of a version for the registry."""
    parts = [_selection(selection), _reported(selection, scores), _rules(selection, scores)]
    if selection.warning:
        parts.insert(1, f"**Warning:** {selection.warning}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _selection(selection: SelectionResult) -> str:
    num_checkpoints = len(selection.trajectory) - 1
    num_others = len(selection.candidates) - len(selection.trajectory)
    out_of_domain = ", ".join(selection.out_of_domain_datasets) or "none"
    in_domain = ", ".join(selection.in_domain_datasets) or "none"
    ties = ""
    if len(selection.near_ties) > 1:
        ties = (
            f" {len(selection.near_ties)} candidates are tied: the best one is not significantly better than the rest. "
            "The one closest to the base model was selected."
        )
    reason = selection.reason.replace("->", "to")
    return (
        f"**Selection.** {selection.winner} was selected from the base model, {counted(num_checkpoints, 'checkpoint')} "
        f"and {counted(num_others, 'other candidate')} (mostly weight averages). The rule was "
        f"{rules()[selection.rule].label} on the selection data of the out-of-domain datasets ({out_of_domain}). "
        f"Candidates more than {selection.in_domain_tolerance:g} below the best in-domain score ({in_domain}) were not "
        f"eligible.{ties} Reason: {reason}."
    )


def _reported(selection: SelectionResult, scores: CandidateScores) -> str:
    base, winner = (scores.report.get(name, {}) for name in (selection.base.name, selection.winner))
    changes = ", ".join(
        f"{name} {base[name].value:.3f} to {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        for name, score in winner.items()
        if name in base
    )
    if not changes:
        return ""
    return (
        "**Results on report data**, which was not used for any choice. Primary metric from the base model to this "
        f"version, with its confidence interval: {changes}."
    )


def _rules(selection: SelectionResult, scores: CandidateScores) -> str:
    winner = scores.report.get(selection.winner, {})
    names = [name for name in selection.out_of_domain_datasets if name in winner]
    if not names:
        return ""
    lines = [
        "**The candidate that each rule selects**, with the difference from this version: in domain on selection data, "
        "other datasets on report data.",
        "",
        f"| rule | candidate | in domain | {' | '.join(names)} |",
        f"| --- | --- | --: | {' | '.join('--:' for _ in names)} |",
    ]
    for rule, chosen in selection.choices.items():
        cells = [signed(selection.candidate(chosen).in_domain - selection.selected.in_domain)]
        cells += [signed(scores.report[chosen][name].value - winner[name].value) for name in names]
        mark = " (configured)" if rule == selection.rule else ""
        lines.append(f"| {rules()[rule].label}{mark} | {chosen} | {' | '.join(cells)} |")
    return "\n".join(lines)
