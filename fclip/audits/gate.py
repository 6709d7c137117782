"""The part of the gate that reads audits: which audits keep a challenger from becoming the champion."""

from collections.abc import Sequence

from fclip.audits.result import AuditResult


def audit_failures(results: Sequence[AuditResult], *, champion: str, challenger: str) -> tuple[str, ...]:
    """Return the reasons against the challenger: each audit that it fails and on which it is worse than the champion.

    An audit fails if the whole interval of its headline is above the limit. It is worse than the champion's if the
    whole interval is above the champion's number. An audit that could not be measured, of either model, is no reason,
    nor are two headlines of different quantities, such as the loss in a scene and by a camera.

    Args:
        champion, challenger: the names of the models in `results`.
    """
    by_model = {(each.kind, each.dataset, each.split, each.model): each for each in results}
    reasons = []
    for each in results:
        other = by_model.get((each.kind, each.dataset, each.split, champion))
        if each.model != challenger or each.status != "failed" or other is None:
            continue
        if not each.headline or not other.headline or each.headline.name != other.headline.name:
            continue
        if each.headline.low > other.headline.value:
            reasons.append(
                f"it fails the audit {each.kind} on {each.dataset} {each.split} ({each.headline.label} "
                f"{each.headline.value:.3f}, interval {each.headline.low:.3f} to {each.headline.high:.3f}, above the "
                f"limit {each.limit:g}; champion {other.headline.value:.3f})"
            )
    return tuple(reasons)
