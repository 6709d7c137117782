"""The card of a registered version, in Markdown: how it was chosen, and what that would have been by other rules."""

from fclip.pages.wording import signed
from fclip.report.inputs import CandidateScores
from fclip.selection.result import SelectionResult
from fclip.selection.rules.registry import rules


def card(selection: SelectionResult, scores: CandidateScores) -> str:
    """What the registry says of the version beside its numbers."""
    parts = [_how(selection), _reported(selection, scores), _rules(selection, scores)]
    if selection.warning:
        parts.insert(1, f"**Mind:** {selection.warning}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(selection: SelectionResult) -> str:
    checkpoints = len(selection.path) - 1
    averages = len(selection.candidates) - len(selection.path)
    outside = ", ".join(selection.out_of_domain_datasets) or "no dataset outside the domain"
    inside = ", ".join(selection.in_domain_datasets) or "none"
    ties = ""
    if len(selection.near_ties) > 1:
        ties = (
            f" {len(selection.near_ties)} of them are not told from the best: the one nearest the base model was taken."
        )
    return (
        f"**How it was chosen.** {selection.winner}, among the base model, {checkpoints} checkpoints and {averages} others "
        f"(averages of weights, mostly), by {rules()[selection.rule].label} on data that selects: {outside}; of those "
        f"no more than {selection.in_domain_tolerance:g} below the best in domain ({inside}).{ties} In short: "
        f"{selection.reason.replace('->', 'to')}."
    )


def _reported(selection: SelectionResult, scores: CandidateScores) -> str:
    base, winner = (scores.report.get(name, {}) for name in (selection.base.name, selection.winner))
    told = ", ".join(
        f"{name} {base[name].value:.3f} to {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        for name, score in winner.items()
        if name in base
    )
    return (
        f"**On data that chose nothing**, the base model's score to this version's (interval): {told}." if told else ""
    )


def _rules(selection: SelectionResult, scores: CandidateScores) -> str:
    winner = scores.report.get(selection.winner, {})
    names = [name for name in selection.out_of_domain_datasets if name in winner]
    if not names:
        return ""
    lines = [
        "**What each rule would have chosen**, and what that gains or costs against this version on outside data that "
        "chose nothing:",
        "",
        f"| rule | choice | in domain | {' | '.join(names)} |",
        f"| --- | --- | --: | {' | '.join('--:' for _ in names)} |",
    ]
    for rule, chosen in selection.choices.items():
        cells = [signed(selection.candidate(chosen).in_domain - selection.selected.in_domain)]
        cells += [signed(scores.report[chosen][name].value - winner[name].value) for name in names]
        own = " (in use)" if rule == selection.rule else ""
        lines.append(f"| {rules()[rule].label}{own} | {chosen} | {' | '.join(cells)} |")
    return "\n".join(lines)
