"""Select one candidate by a rule and explain the choice. A pure function of the scores."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.selection.candidates import Floats, Pool, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.result import CandidateResult, DatasetScore, SelectionResult
from fclip.selection.rules.out_of_domain import gains
from fclip.selection.rules.registry import Rule, rules

FEW_ITEMS = 100
"""With fewer items, a warning gives the smallest reliable difference."""
IN_DOMAIN_ONLY = (
    "No out-of-domain dataset has the role select, so the model was selected by in-domain data alone. In-domain scores "
    "say little about how well a model generalises (see the FashionCLIP model card). Add an out-of-domain dataset to "
    "ingest.datasets"
)
NO_IN_DOMAIN = (
    "No training dataset has a split with the role select, so the in-domain tolerance cannot be applied and every "
    "candidate is eligible. Assign the role select to a split in ingest.datasets"
)
NO_CANDIDATES = "Training saved no candidates, so the base model was the only choice"
NONE_FINITE = "Every candidate other than the base model gives features that are not finite (NaN or infinity)"


def select(candidates: Sequence[ScoredCandidate], config: SelectConfig) -> SelectionResult:
    """Select the base model or one of the other candidates.

    1. A candidate is eligible if its features are finite and its in-domain score is within the tolerance of the best.
    2. The best candidate is the eligible one with the highest score by the rule. Among equal scores it is the one with
       the earliest step.
    3. If the base model is not within the tolerance, it wins unless the best candidate beats it by the rule, with the
       in-domain score counted as one more dataset.
    4. Candidates that the best one does not beat with `tie_confidence`, by the paired bootstrap over items, are near
       ties. The near tie closest to the base model wins.

    Raises:
        UserError: the candidates do not include the base model, its features are not finite, or the rule reads a
            metric that was not measured.
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
        raise UserError(
            f"select.rule {rule.kind} reads a metric that no label-free protocol measures; add a label-free protocol "
            "to an out-of-domain dataset in evaluate.datasets"
        )
    resampled = None if config.tie_confidence is None else Pool.resampled(ordered)
    distances = [math.inf if each.candidate.distance is None else each.candidate.distance for each in ordered]
    applicable = [each for each in rules().values() if each.is_applicable(pool)]
    within = {each.kind: _within_tolerance(each, pool, config.in_domain_tolerance) for each in applicable}
    chosen = {
        each.kind: _choose(each, pool, resampled, within[each.kind], distances, config.tie_confidence)
        for each in applicable
    }
    scores = rule.scores(pool)
    winner, best, ties = chosen[rule.kind]
    return SelectionResult(
        rule=rule.kind,
        in_domain_tolerance=config.in_domain_tolerance,
        tie_confidence=config.tie_confidence,
        winner=ordered[winner].name,
        best=ordered[best].name,
        near_ties=tuple(ordered[row].name for row in ties.nonzero()[0]),
        reason=_reason(ordered, winner, best, scores, rule, base_is_within=bool(within[rule.kind][0])),
        warning=". ".join(_warnings(ordered)) or None,
        choices={kind: ordered[row].name for kind, (row, _, _) in chosen.items()},
        in_domain_datasets=tuple(ordered[0].in_domain),
        candidates=_results(ordered, pool, scores, within[rule.kind]),
    )


def _results(
    ordered: Sequence[ScoredCandidate], pool: Pool, scores: Floats, within: NDArray[np.bool_]
) -> tuple[CandidateResult, ...]:
    base = ordered[0]
    return tuple(
        CandidateResult(
            candidate=each.candidate,
            score=float(score) if math.isfinite(score) else None,
            in_domain=each.in_domain_score,
            out_of_domain={
                name: DatasetScore(dataset.value, base.out_of_domain[name].value, float(gain), dataset.standard_error)
                for (name, dataset), gain in zip(each.out_of_domain.items(), dataset_gains, strict=True)
            },
            eligible=each is base or bool(eligible),
            num_nonfinite=each.num_nonfinite,
        )
        for each, score, dataset_gains, eligible in zip(ordered, scores, gains(pool), within, strict=True)
    )


def _within_tolerance(rule: Rule, pool: Pool, tolerance: float) -> NDArray[np.bool_]:
    """bool [n]: the candidates that the rule can score and that are within the in-domain tolerance of the best of them.

    A rule cannot score every candidate: weight averages have no validation loss.
    """
    scorable = pool.finite & np.isfinite(rule.scores(pool))
    if not scorable.any():
        return scorable
    within: NDArray[np.bool_] = scorable & (pool.in_domain >= pool.in_domain[scorable].max() - tolerance)
    return within


def _choose(
    rule: Rule,
    pool: Pool,
    resampled: Pool | None,
    within: NDArray[np.bool_],
    distances: Sequence[float],
    confidence: float | None,
) -> tuple[int, int, NDArray[np.bool_]]:
    """Return the row of the winner, the row of the best by the rule, and bool [n]: the near ties of the best."""
    rows = np.arange(len(within))
    best = int(np.where(within, rule.scores(pool), -np.inf).argmax())  # argmax takes the earliest of equals
    if not within[0] and not rule.beats_base(pool, best):
        best = 0
    ties = rows == best
    if resampled is not None and confidence is not None and rule.scores_items:
        ties |= within & (_deficit_bound(rule.scores(resampled), best, confidence) <= 0)
    nearest = min(rows[ties], key=lambda row: (distances[row], row != best))
    return int(nearest), best, ties


def _deficit_bound(resampled: Floats, best: int, confidence: float) -> Floats:
    """float64 [n]: the lower bound, at this confidence, of how far each candidate is below `best`.

    Args:
        resampled: float64 [b, n], the scores of b bootstrap resamples.
    """
    bound: Floats = np.quantile(resampled[:, best, None] - resampled, 1 - confidence, axis=0)
    return bound


def _warnings(candidates: Sequence[ScoredCandidate]) -> list[str]:
    base, *others = candidates
    warnings = []
    if not others:
        warnings.append(NO_CANDIDATES)
    elif all(candidate.num_nonfinite for candidate in others):
        warnings.append(NONE_FINITE)
    if not base.out_of_domain:
        warnings.append(IN_DOMAIN_ONLY)
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
    candidates: Sequence[ScoredCandidate],
    winner: int,
    best: int,
    scores: Floats,
    rule: Rule,
    *,
    base_is_within: bool,
) -> str:
    base, chosen = candidates[0], candidates[winner]
    # Without out-of-domain data, a rule that reads it ranks by the in-domain score.
    label = "the in-domain score" if rule.reads_out_of_domain and not base.out_of_domain else rule.label
    if best == 0:
        in_domain_counts = rule.reads_out_of_domain and not base_is_within
        by = f"{label}, with the in-domain score counted as one more dataset" if in_domain_counts else label
        return f"no eligible candidate beats the base model by {by}; fine-tuning did not improve the selection scores"
    if winner == 0:
        return (
            f"no eligible candidate is significantly better than the base model by {label}; the advantage of the "
            f"best one, {candidates[best].name} (score {scores[best]:.3f}), may be due to chance"
        )
    why = f"best eligible candidate by {label} (score {scores[winner]:.3f})"
    if winner != best:
        why = (
            f"near tie (score {scores[winner]:.3f} by {label}) with the best candidate, {candidates[best].name} "
            f"(score {scores[best]:.3f}), and closer to the base model"
        )
    changes = ", ".join(
        f"{name} {base.out_of_domain[name].value:.3f} -> {score.value:.3f}"
        for name, score in chosen.out_of_domain.items()
    )
    out_of_domain = f"out of domain: {changes}; " if changes else ""
    if rule.reads_out_of_domain and scores[winner] < scores[0]:
        out_of_domain += "its loss out of domain is outweighed by its gain in domain; "
    return f"{why}; {out_of_domain}in domain: {base.in_domain_score:.3f} -> {chosen.in_domain_score:.3f}"
