"""Select one candidate by a rule and explain the choice. A pure function of the scores."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.models.candidates import IN_DOMAIN_TOLERANCES
from fclip.selection.candidates import Floats, Pool, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.preferences import PICKS, Preference
from fclip.selection.result import CandidateResult, DatasetScore, HeldScore, SelectionResult, ToleranceChoice
from fclip.selection.rules.out_of_domain import gains
from fclip.selection.rules.registry import Rule, rules

ROUNDING = 1e-9
FEW_ITEMS = 100
"""With fewer items, a warning gives the smallest reliable difference."""
NO_IN_DOMAIN = (
    "No training dataset has a split with the role select, so the in-domain tolerance cannot be applied and every "
    "candidate is eligible. Assign the role select to a split in ingest.datasets"
)
NO_CANDIDATES = "Training saved no candidates, so the base model was the only choice"
NONE_FINITE = "Every candidate other than the base model gives features that are not finite (NaN or infinity)"


def select(candidates: Sequence[ScoredCandidate], config: SelectConfig) -> SelectionResult:
    """Select the base model or one of the other candidates.

    1. A candidate is eligible if its features are finite and it is within the tolerance of the best candidate by every
       metric that selection holds in domain. One standard error of the paired difference is always tolerated. If the
       metrics disagree so much that no candidate is, the tolerance is the smallest that one candidate meets.
    2. The best candidate is the eligible one with the highest score by the rule. Among equal scores it is the one with
       the earliest step.
    3. If the base model is not within the tolerance, it wins unless the best candidate beats it by the rule, with the
       in-domain score counted as one more dataset.
    4. Candidates that the best one does not beat with `tie_confidence`, by the paired bootstrap over items, are near
       ties. The near tie closest to the base model wins.

    Raises:
        UserError: the candidates do not include the base model, its features are not finite, or the rule reads
            something that was not measured.
    """
    ordered = sorted(candidates, key=lambda each: (each.candidate.kind != "base", each.candidate.step))
    if not ordered or ordered[0].candidate.kind != "base":
        raise UserError("models/average has no candidate `base-model`; run the stages finetune and average again")
    pool = Pool.from_candidates(ordered)
    if not pool.finite[0]:
        raise UserError(
            "the base model gives features that are not finite; choose another base model in finetune.base_model"
        )
    rule = rules()[config.rule]
    if not rule.is_applicable(pool):
        raise UserError(_why_not_applicable(rule))
    resampled = Pool.resampled(ordered)
    applicable = [each for each in rules().values() if each.is_applicable(pool)]
    tolerance = config.tolerance_of(config.prefer)
    choices = {each.kind: _choose(each, pool, resampled, tolerance, config) for each in applicable}
    choice = choices[rule.kind]
    return SelectionResult(
        rule=rule.kind,
        prefer=config.prefer,
        in_domain_tolerance=tolerance,
        tie_confidence=config.tie_confidence,
        winner=ordered[choice.winner].name,
        best=ordered[choice.best].name,
        near_ties=tuple(ordered[row].name for row in choice.ties.nonzero()[0]),
        reason=_reason(ordered, choice, rule.scores(pool), rule, tolerance),
        warning=". ".join(_warnings(ordered, choice.widened, tolerance)) or None,
        by_tolerance=tuple(
            ToleranceChoice(each, ordered[_choose(rule, pool, resampled, each, config).winner].name, preference)
            for each, preference in _tolerances(config)
        ),
        choices={kind: ordered[made.winner].name for kind, made in choices.items()},
        in_domain_datasets=tuple(ordered[0].in_domain),
        candidates=_results(ordered, pool, rule.scores(pool), choice),
    )


def _tolerances(config: SelectConfig) -> list[tuple[float, Preference | None]]:
    """The tolerances to choose with, ascending, each with the preference that applies it."""
    preferred: list[tuple[float, Preference | None]] = [(config.tolerance_of(each), each) for each in PICKS]
    others = set(IN_DOMAIN_TOLERANCES) - {tolerance for tolerance, _ in preferred}
    return sorted([*preferred, *((each, None) for each in others)], key=lambda pair: pair[0])


def _why_not_applicable(rule: Rule) -> str:
    if rule.prefers_base:
        return (
            f"select.rule {rule.kind} holds in-domain metrics, and no training dataset has a split with the role "
            "select; assign the role in ingest.datasets, or use in_domain_loss or last, which need no such split"
        )
    if rule.reads_out_of_domain:
        return (
            f"select.rule {rule.kind} reads out-of-domain datasets, and none has the role select; use nearest_to_base, "
            "which reads none, or add a dataset to ingest.datasets"
        )
    return (
        f"select.rule {rule.kind} reads a metric that no label-free protocol measures; add a label-free protocol "
        "to an out-of-domain dataset in evaluate.datasets"
    )


@dataclass(frozen=True)
class _Choice:
    """The choice of one rule among n candidates, as rows.

    Attributes:
        best: the best eligible candidate by the rule. ties: bool [n], its near ties and itself.
        within: bool [n], the candidates that the rule can score and that keep every held metric within the tolerance.
        deficits, accepted: float64 [n, h], see `HeldScore`.
        widened: what was added to every accepted deficit, so that at least one candidate is within; usually 0.
    """

    winner: int
    best: int
    ties: NDArray[np.bool_]
    within: NDArray[np.bool_]
    deficits: Floats
    accepted: Floats
    widened: float


def _results(
    ordered: Sequence[ScoredCandidate], pool: Pool, scores: Floats, choice: _Choice
) -> tuple[CandidateResult, ...]:
    base, gained = ordered[0], gains(pool)
    return tuple(
        CandidateResult(
            candidate=each.candidate,
            score=float(scores[row]) if math.isfinite(scores[row]) else None,
            in_domain=each.in_domain_score,
            held={
                name: HeldScore(score.value, float(deficit), float(accepted))
                for (name, score), deficit, accepted in zip(
                    each.held.items(), choice.deficits[row], choice.accepted[row], strict=True
                )
            },
            out_of_domain={
                name: DatasetScore(dataset.value, base.out_of_domain[name].value, float(gain), dataset.standard_error)
                for (name, dataset), gain in zip(each.out_of_domain.items(), gained[row], strict=True)
            },
            eligible=each is base or bool(choice.within[row]),
            num_nonfinite=each.num_nonfinite,
        )
        for row, each in enumerate(ordered)
    )


def _choose(rule: Rule, pool: Pool, resampled: Pool | None, tolerance: float, config: SelectConfig) -> _Choice:
    """Choose by `rule` among the candidates that keep every held metric within `tolerance`.

    A rule cannot score every candidate: weight averages have no validation loss. The best is one that it can score.
    """
    scores = rule.scores(pool)
    within = pool.finite & np.isfinite(scores)
    deficits, accepted = _held(pool, resampled, within, tolerance)
    excess = (deficits - accepted).max(axis=1, initial=0.0)
    widened = float(excess[within].min(initial=np.inf)) if within.any() else 0.0
    within = within & (excess <= widened + ROUNDING)
    best = int(np.where(within, scores, -np.inf).argmax())  # argmax takes the earliest of equals
    if not within[0] and not rule.beats_base(pool, best):
        best = 0
    rows = np.arange(len(within))
    ties = rows == best
    if resampled is not None and config.tie_confidence is not None and rule.scores_items:
        ties |= within & (_deficit_bound(rule.scores(resampled), best, config.tie_confidence) <= 0)
    nearest = min(rows[ties], key=lambda row: (pool.distances[row], row != best))
    return _Choice(int(nearest), best, ties, within, deficits, accepted + widened, widened)


def _held(pool: Pool, resampled: Pool | None, scorable: NDArray[np.bool_], tolerance: float) -> tuple[Floats, Floats]:
    """float64 [n, h]: how far each candidate is below the best of `scorable` by each held metric, and what is accepted.

    The noise of a small validation split must not choose, so one standard error of the paired difference is accepted.
    """
    metrics = np.arange(pool.held.shape[-1])
    best = np.where(scorable[:, None], pool.held, -np.inf).argmax(axis=0)
    deficits: Floats = pool.held[best, metrics] - pool.held
    if resampled is None:
        return deficits, np.full(deficits.shape, tolerance)
    differences = resampled.held[:, best, metrics][:, None] - resampled.held
    return deficits, np.maximum(tolerance, differences.std(axis=0, ddof=1))


def _deficit_bound(resampled: Floats, best: int, confidence: float) -> Floats:
    """float64 [n]: the lower bound, at this confidence, of how far each candidate is below `best`.

    Args:
        resampled: float64 [b, n], the scores of b bootstrap resamples.
    """
    bound: Floats = np.quantile(resampled[:, best, None] - resampled, 1 - confidence, axis=0)
    return bound


def _warnings(candidates: Sequence[ScoredCandidate], widened: float, tolerance: float) -> list[str]:
    base, *others = candidates
    warnings = []
    if widened:
        warnings.append(
            f"The best candidates by {' and '.join(base.held)} differ, and none is within {100 * tolerance:g} points "
            f"of the best by each of them; {100 * widened:.2g} points more were accepted"
        )
    if not others:
        warnings.append(NO_CANDIDATES)
    elif all(candidate.num_nonfinite for candidate in others):
        warnings.append(NONE_FINITE)
    if not base.in_domain:
        warnings.append(NO_IN_DOMAIN)
    for name, score in {**base.in_domain, **base.out_of_domain}.items():
        if 0 < score.num_items < FEW_ITEMS:
            two_standard_errors = score.num_items**-0.5  # of a share, at most
            warnings.append(
                f"The dataset {name} has only {score.num_items} items for selection, so a difference of less than "
                f"{two_standard_errors:.2f} on it may be due to chance"
            )
    return warnings


def _reason(
    candidates: Sequence[ScoredCandidate], choice: _Choice, scores: Floats, rule: Rule, tolerance: float
) -> str:
    base, chosen, best = candidates[0], candidates[choice.winner], candidates[choice.best]
    if rule.prefers_base:
        return _reason_by_distance(candidates, choice, tolerance)
    if choice.best == 0:
        in_domain_counts = rule.reads_out_of_domain and not choice.within[0]
        by = f"{rule.label}, with the in-domain score counted as one more dataset" if in_domain_counts else rule.label
        return f"no eligible candidate beats the base model by {by}; fine-tuning did not improve the selection scores"
    if choice.winner == 0:
        return (
            f"no eligible candidate is significantly better than the base model by {rule.label}; the advantage of the "
            f"best one, {best.name} (score {scores[choice.best]:.3f}), may be due to chance"
        )
    why = f"best eligible candidate by {rule.label} (score {scores[choice.winner]:.3f})"
    if choice.winner != choice.best:
        why = (
            f"near tie (score {scores[choice.winner]:.3f} by {rule.label}) with the best candidate, {best.name} "
            f"(score {scores[choice.best]:.3f}), and closer to the base model"
        )
    out_of_domain = _out_of_domain(base, chosen)
    if rule.reads_out_of_domain and scores[choice.winner] < scores[0]:
        out_of_domain += "its loss out of domain is outweighed by its gain in domain; "
    return f"{why}; {out_of_domain}in domain: {base.in_domain_score:.3f} -> {chosen.in_domain_score:.3f}"


def _reason_by_distance(candidates: Sequence[ScoredCandidate], choice: _Choice, tolerance: float) -> str:
    base, chosen = candidates[0], candidates[choice.winner]
    within = f"within {100 * tolerance:g} points, or one standard error, of the best candidate"
    held = ", ".join(
        f"{name} {base.held[name].value:.3f} -> {score.value:.3f} (best {score.value + deficit:.3f})"
        for (name, score), deficit in zip(chosen.held.items(), choice.deficits[choice.winner], strict=True)
    )
    if choice.winner == 0:
        return f"the base model is {within} by every metric held in domain, so fine-tuning improved too little: {held}"
    among = f"of the {choice.within.sum()} candidates {within} by every metric held in domain"
    outside = _out_of_domain(base, chosen) or "the choice rests on in-domain data alone and reads no other dataset; "
    return f"nearest to the base model {among}; {outside}in domain: {held or 'not measured'}"


def _out_of_domain(base: ScoredCandidate, chosen: ScoredCandidate) -> str:
    changes = ", ".join(
        f"{name} {base.out_of_domain[name].value:.3f} -> {score.value:.3f}"
        for name, score in chosen.out_of_domain.items()
    )
    return f"out of domain: {changes}; " if changes else ""
