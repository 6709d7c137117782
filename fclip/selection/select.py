"""Select one candidate by a rule, and say why. Pure: scores in, selection out."""

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
IN_DOMAIN_ONLY = (
    "no outside dataset has the role select: the choice is judged in domain only, a criterion of which the model card "
    "of FashionCLIP warns that it says little about how a model generalises; add a dataset of another kind to "
    "ingest.datasets"
)
NO_IN_DOMAIN = (
    "no dataset that trains has a split with the role select: the in-domain tolerance cannot be held, so every "
    "candidate is eligible; give one in ingest.datasets"
)
NOTHING_TO_CHOOSE = "training left no candidate beside the base model, so there is nothing to choose from"
NONE_FINITE = "every candidate that training left gives features that are not finite"


def select(candidates: Sequence[ScoredCandidate], config: SelectConfig) -> SelectionResult:
    """Choose among the base model and the candidates.

    Eligible is every candidate with finite features whose in-domain score is within the tolerance of the best. A base
    model that is not within it wins if the best of them does not beat it by the rule, with the in-domain score counted
    as one more dataset. Of those within it that the highest by the rule does not beat with `tie_confidence`, by the
    paired bootstrap over items, the one nearest the base model wins; if nothing is known of that, the highest, and of
    equals the earliest.

    Raises:
        UserError: there is no base model among the candidates, its features are not finite, or the rule reads a metric
            that was not measured.
    """
    ordered = sorted(candidates, key=lambda each: (each.candidate.kind != "base", each.candidate.step))
    if not ordered or ordered[0].candidate.kind != "base":
        raise UserError(
            "models/average has no base-model among its candidates: run the stages finetune and average again"
        )
    pool = Pool.of(ordered)
    if not pool.finite[0]:
        raise UserError(
            "the base model itself gives features that are not finite: name another base model in finetune.base_model"
        )
    rule = rules()[config.rule]
    if not rule.is_applicable(pool):
        raise UserError(
            f"select.rule {rule.kind} reads what a protocol of the kind label-free measures: give one to an outside "
            "dataset in evaluate.datasets"
        )
    resampled = None if config.tie_confidence is None else Pool.resampled(ordered)
    distances = [math.inf if each.candidate.distance is None else each.candidate.distance for each in ordered]
    applicable = [each for each in rules().values() if each.is_applicable(pool)]
    within = {each.kind: _within(each, pool, config.in_domain_tolerance) for each in applicable}
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
        warning="; ".join(_warnings(ordered)) or None,
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
                name: DatasetScore(own.value, base.out_of_domain[name].value, float(gain), own.standard_error)
                for (name, own), gain in zip(each.out_of_domain.items(), own_gains, strict=True)
            },
            eligible=each is base or bool(eligible),
            num_nonfinite=each.num_nonfinite,
        )
        for each, score, own_gains, eligible in zip(ordered, scores, gains(pool), within, strict=True)
    )


def _within(rule: Rule, pool: Pool, tolerance: float) -> NDArray[np.bool_]:
    """bool [n]: those within the in-domain tolerance, of those that the rule can score (averages have no loss)."""
    known = pool.finite & np.isfinite(rule.scores(pool))
    if not known.any():
        return known
    found: NDArray[np.bool_] = known & (pool.in_domain >= pool.in_domain[known].max() - tolerance)
    return found


def _choose(
    rule: Rule,
    pool: Pool,
    resampled: Pool | None,
    within: NDArray[np.bool_],
    distances: Sequence[float],
    confidence: float | None,
) -> tuple[int, int, NDArray[np.bool_]]:
    """The rows of the winner and of the highest by the rule, and which rows cannot be told from the latter."""
    rows = np.arange(len(within))
    best = int(np.where(within, rule.scores(pool), -np.inf).argmax())  # of equals the earliest step
    if not within[0] and not rule.beats_base(pool, best):
        best = 0
    ties = rows == best
    if resampled is not None and confidence is not None and rule.scores_items:
        ties |= within & (_surely_less(rule.scores(resampled), best, confidence) <= 0)
    nearest = min(rows[ties], key=lambda row: (distances[row], row != best))
    return int(nearest), best, ties


def _surely_less(resampled: Floats, best: int, confidence: float) -> Floats:
    """[n]: by how much each is at least below `best`, with this confidence, of the scores [b, n] of resamples."""
    found: Floats = np.quantile(resampled[:, best, None] - resampled, 1 - confidence, axis=0)
    return found


def _warnings(candidates: Sequence[ScoredCandidate]) -> list[str]:
    base, *others = candidates
    found = []
    if not others:
        found.append(NOTHING_TO_CHOOSE)
    elif all(candidate.num_nonfinite for candidate in others):
        found.append(NONE_FINITE)
    if not base.out_of_domain:
        found.append(IN_DOMAIN_ONLY)
    if not base.in_domain:
        found.append(NO_IN_DOMAIN)
    for name, score in {**base.in_domain, **base.out_of_domain}.items():
        if 0 < score.num_items < FEW_ITEMS:
            found.append(
                f"{name} selects by {score.num_items} items: a difference of less than "
                f"{score.num_items**-0.5:.2f} there may be chance, and decides nothing"  # two standard errors at most
            )
    return found


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
    if best == 0:
        counted = base_is_within or not rule.reads_out_of_domain
        by = rule.label if counted else f"{rule.label}, what is in domain counted in"
        return f"no eligible candidate beats the base model by {by}: fine-tuning did not help where it is judged"
    if winner == 0:
        return (
            f"no eligible candidate surely beats the base model by {rule.label}: the best, {candidates[best].name}, has "
            f"{scores[best]:.3f}, which may be chance"
        )
    why = f"highest {rule.label} ({scores[winner]:.3f})"
    if winner != best:
        why = (
            f"nearest the base model ({scores[winner]:.3f}) of those that {candidates[best].name}, the highest by "
            f"{rule.label} ({scores[best]:.3f}), does not surely beat"
        )
    outside = ", ".join(
        f"{name} {base.out_of_domain[name].value:.3f} -> {score.value:.3f}"
        for name, score in chosen.out_of_domain.items()
    )
    where = f"outside: {outside}; " if outside else ""
    if rule.reads_out_of_domain and scores[winner] < scores[0]:
        where += "by these it is worse than the base model, which what was won in domain outweighs; "
    return f"{why}; {where}in domain {base.in_domain_score:.3f} -> {chosen.in_domain_score:.3f}"
