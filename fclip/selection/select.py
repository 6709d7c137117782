"""Select one candidate by a rule, and say why. Pure: scores in, selection out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.selection.candidates import Candidate, Floats, Pool
from fclip.selection.config import SelectConfig
from fclip.selection.rules import OUTSIDE, SAMPLED, applicable, apply, beats_start, gains

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
NOTHING_TO_CHOOSE = "training left no candidate beside the start, so there is nothing to choose from"
NONE_FINITE = "every candidate that training left gives features that are not finite"


@dataclass(frozen=True)
class Selection:
    """The winner, why, and every candidate's score by the rule.

    Attributes:
        best: the highest by the rule. near_ties: the eligible ones that are not told from it, itself among them.
        choices: what each rule would have chosen among the same eligible candidates.
    """

    winner: Candidate
    best: Candidate
    near_ties: tuple[str, ...]
    won: bool
    reason: str
    warning: str | None
    config: SelectConfig
    candidates: tuple[Candidate, ...]
    eligible: tuple[bool, ...]
    scores: tuple[float, ...]
    choices: dict[str, str]


def select(candidates: Sequence[Candidate], config: SelectConfig) -> Selection:
    """Choose among the start (the first at step 0) and the candidates.

    Eligible is every candidate with finite features whose in-domain score is within the tolerance of the best. A start
    that is not wins where the best of them does not beat it by the rule with what is in domain counted as one more
    dataset. Of those within it that the highest by the rule does not beat with `tie_confidence`, by the paired
    bootstrap over items, the one nearest the start wins; where nothing is known of that, the highest, and of equals the
    earliest.

    Raises:
        UserError: there is no start among the candidates, it gives features that are not finite, or the rule reads
            what nobody measured.
    """
    ordered = tuple(sorted(candidates, key=lambda candidate: candidate.step))
    if not ordered or ordered[0].step != 0:
        raise UserError("models/average has no start among its candidates: run the stages finetune and average again")
    pool = Pool.of(ordered)
    if not pool.finite[0]:
        raise UserError("the start itself gives features that are not finite: name another start in finetune.start")
    rules = applicable(pool)
    if config.rule not in rules:
        raise UserError(
            f"select.rule {config.rule} reads what a protocol of the kind label-free measures: give one to an outside "
            "dataset in evaluate.datasets"
        )
    drawn = None if config.tie_confidence is None else Pool.drawn(ordered)
    distances = [candidate.distance for candidate in ordered]
    within = {name: _within(name, pool, config.in_domain_tolerance) for name in rules}
    chosen = {name: _choose(name, pool, drawn, within[name], distances, config.tie_confidence) for name in rules}
    eligible = within[config.rule] | (np.arange(len(ordered)) == 0)
    scores = apply(config.rule, pool)
    winner, best, ties = chosen[config.rule]
    return Selection(
        winner=ordered[winner],
        best=ordered[best],
        near_ties=tuple(ordered[row].name for row in ties.nonzero()[0]),
        won=winner != 0,
        reason=_reason(ordered, winner, best, scores, config, start_is_within=bool(within[config.rule][0])),
        warning="; ".join(_warnings(ordered)) or None,
        config=config,
        candidates=ordered,
        eligible=tuple(bool(fine) for fine in eligible),
        scores=tuple(float(score) for score in scores),
        choices={name: ordered[row].name for name, (row, _, _) in chosen.items()},
    )


def _within(rule: str, pool: Pool, tolerance: float) -> NDArray[np.bool_]:
    """bool [n]: whom the in-domain tolerance leaves, of those that the rule knows (averages have no loss)."""
    known = pool.finite & np.isfinite(apply(rule, pool))
    if not known.any():
        return known
    found: NDArray[np.bool_] = known & (pool.in_domain >= pool.in_domain[known].max() - tolerance)
    return found


def _choose(
    rule: str,
    pool: Pool,
    drawn: Pool | None,
    within: NDArray[np.bool_],
    distances: Sequence[float],
    confidence: float | None,
) -> tuple[int, int, NDArray[np.bool_]]:
    """The rows of the winner and of the highest by the rule, and which rows are not told from the latter."""
    rows = np.arange(len(within))
    best = int(np.where(within, apply(rule, pool), -np.inf).argmax())  # of equals the earliest step
    if not within[0] and not beats_start(rule, pool, best):
        best = 0
    ties = rows == best
    if drawn is not None and confidence is not None and rule in SAMPLED:
        ties |= within & (_surely_less(apply(rule, drawn), best, confidence) <= 0)
    nearest = min(rows[ties], key=lambda row: (distances[row], row != best))
    return int(nearest), best, ties


def _surely_less(drawn: Floats, best: int, confidence: float) -> Floats:
    """[n]: by how much each is below `best` at least, with this confidence, of scores [b, n] of resamples."""
    found: Floats = np.quantile(drawn[:, best, None] - drawn, 1 - confidence, axis=0)
    return found


def _warnings(candidates: Sequence[Candidate]) -> list[str]:
    start, *others = candidates
    found = []
    if not others:
        found.append(NOTHING_TO_CHOOSE)
    elif all(candidate.num_nonfinite for candidate in others):
        found.append(NONE_FINITE)
    if not start.outside:
        found.append(IN_DOMAIN_ONLY)
    if not start.in_domain:
        found.append(NO_IN_DOMAIN)
    for name, score in {**start.in_domain, **start.outside}.items():
        if 0 < score.num_items < FEW_ITEMS:
            found.append(
                f"{name} selects by {score.num_items} items: a difference of less than "
                f"{score.num_items**-0.5:.2f} there may be chance, and decides nothing"  # two standard errors at most
            )
    return found


def as_json(selection: Selection) -> dict[str, Any]:
    """What reports/selection.json holds."""
    start = selection.candidates[0]
    rows = zip(
        selection.candidates,
        selection.eligible,
        selection.scores,
        gains(Pool.of(selection.candidates)),
        strict=True,
    )
    return {
        "rule": selection.config.rule,
        "in_domain_tolerance": selection.config.in_domain_tolerance,
        "tie_confidence": selection.config.tie_confidence,
        "winner": selection.winner.name,
        "best": selection.best.name,
        "near_ties": list(selection.near_ties),
        "model_sha256": selection.winner.model_sha256,
        "won": selection.won,
        "reason": selection.reason,
        "warning": selection.warning,
        "choices": selection.choices,
        "candidates": [
            {
                "name": candidate.name,
                "step": candidate.step,
                "model_sha256": candidate.model_sha256,
                "score": round(score, 6) if math.isfinite(score) else None,
                "in_domain": round(candidate.in_domain_score, 6),
                "eligible": eligible,
                "num_nonfinite": candidate.num_nonfinite,
                "is_average": candidate.is_average,
                "distance": candidate.distance if math.isfinite(candidate.distance) else None,
                "val_loss": None if candidate.val_loss is None else round(candidate.val_loss, 6),
                "per_dataset": {
                    name: {
                        "score": round(score.value, 6),
                        "start": round(start.outside[name].value, 6),
                        "gain": round(float(own), 6),
                        "standard_error": round(score.standard_error, 6),
                    }
                    for (name, score), own in zip(candidate.outside.items(), gain, strict=True)
                },
            }
            for candidate, eligible, score, gain in rows
        ],
    }


def _reason(
    candidates: Sequence[Candidate],
    winner: int,
    best: int,
    scores: Floats,
    config: SelectConfig,
    *,
    start_is_within: bool,
) -> str:
    rule = config.rule.replace("_", " ")
    start, chosen = candidates[0], candidates[winner]
    if best == 0:
        by = rule if start_is_within or config.rule not in OUTSIDE else f"{rule}, what is in domain counted in"
        return f"no eligible candidate beats the start by {by}: fine-tuning did not help where it is judged"
    if winner == 0:
        return (
            f"no eligible candidate surely beats the start by {rule}: the best, {candidates[best].name}, has "
            f"{scores[best]:.3f}, which may be chance"
        )
    why = f"highest {rule} ({scores[winner]:.3f})"
    if winner != best:
        why = (
            f"nearest the start ({scores[winner]:.3f}) of those that {candidates[best].name}, the highest by {rule} "
            f"({scores[best]:.3f}), does not surely beat"
        )
    outside = ", ".join(
        f"{name} {start.outside[name].value:.3f} -> {score.value:.3f}" for name, score in chosen.outside.items()
    )
    where = f"outside: {outside}; " if outside else ""
    if config.rule in OUTSIDE and scores[winner] < scores[0]:
        where += "by these it is worse than the start, which what was won in domain outweighs; "
    return f"{why}; {where}in domain {start.in_domain_score:.3f} -> {chosen.in_domain_score:.3f}"
