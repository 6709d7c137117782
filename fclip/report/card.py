"""The card of a registered version, in Markdown: how it was chosen, and what that would have been by other rules."""

from fclip.pages.wording import signed
from fclip.report.inputs import Candidate, Selection


def card(selection: Selection) -> str:
    """What the registry says of the version beside its numbers."""
    start, winner = selection.candidates[0], selection.candidate(selection.winner)
    parts = [_how(selection, winner), _reported(start, winner), _rules(selection, winner)]
    if selection.warning:
        parts.insert(1, f"**Mind:** {selection.warning}.")
    return "\n\n".join(part for part in parts if part) + "\n"


def _how(selection: Selection, winner: Candidate) -> str:
    checkpoints = sum(candidate.on_path for candidate in selection.candidates) - 1
    averages = len(selection.candidates) - checkpoints - 1
    outside = ", ".join(selection.outside_datasets) or "no dataset outside the domain"
    inside = ", ".join(selection.in_domain_datasets) or "none"
    ties = ""
    if len(selection.near_ties) > 1:
        ties = f" {len(selection.near_ties)} of them are not told from the best: the one nearest the start was taken."
    return (
        f"**How it was chosen.** {winner.name}, among the start, {checkpoints} checkpoints and {averages} others "
        f"(averages of weights, mostly), by {_words(selection.rule)} on data that selects: {outside}; of those no more "
        f"than {selection.tolerance:g} below the best in domain ({inside}).{ties} In short: "
        f"{selection.reason.replace('->', 'to')}."
    )


def _reported(start: Candidate, winner: Candidate) -> str:
    told = ", ".join(
        f"{name} {start.report_scores[name].value:.3f} to {score.value:.3f} ({score.low:.3f} to {score.high:.3f})"
        for name, score in winner.report_scores.items()
        if name in start.report_scores
    )
    return f"**On data that chose nothing**, the start's score to this version's (interval): {told}." if told else ""


def _rules(selection: Selection, winner: Candidate) -> str:
    names = [name for name in selection.outside_datasets if name in winner.report_scores]
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
        other = selection.candidate(chosen)
        cells = [signed(other.in_domain - winner.in_domain)] + [
            signed(other.report_scores[name].value - winner.report_scores[name].value) for name in names
        ]
        own = " (in use)" if rule == selection.rule else ""
        lines.append(f"| {_words(rule)}{own} | {chosen} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _words(rule: str) -> str:
    return rule.replace("_", " ")
