"""Select one candidate by a rule, and say why. Pure: scores in, selection out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fclip.errors import UserError
from fclip.selection.candidates import Candidate
from fclip.selection.config import SelectConfig
from fclip.selection.rules import RULES, gains

IN_DOMAIN_ONLY = (
    "no outside dataset has the role select: the choice is judged in domain only, which says little about how a model "
    "generalises; add a dataset of another kind to ingest.datasets"
)
NO_IN_DOMAIN = (
    "no dataset that trains has a split with the role select: the in-domain tolerance cannot be held, so every "
    "candidate is eligible; give one in ingest.datasets"
)


@dataclass(frozen=True)
class Selection:
    """The winner, why, and every candidate's score by the rule.

    choices: what each rule would have chosen among the same eligible candidates.
    """

    winner: Candidate
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

    Eligible are the start and every candidate with finite features whose in-domain score is within the tolerance of
    the best; the highest score by the rule wins, a tie goes to the earliest step.

    Raises:
        UserError: there is no start among the candidates.
    """
    ordered = tuple(sorted(candidates, key=lambda candidate: candidate.step))
    if not ordered or ordered[0].step != 0:
        raise UserError("models/finetune has no start among its candidates: run the stage finetune again")
    start = ordered[0]
    finite = [candidate for candidate in ordered if candidate.num_nonfinite == 0]
    if start not in finite:
        raise UserError("the start itself gives features that are not finite: name another start in finetune.start")
    best_in_domain = max(candidate.in_domain_score for candidate in finite)
    eligible = tuple(
        candidate in finite
        and (candidate is start or candidate.in_domain_score >= best_in_domain - config.in_domain_tolerance)
        for candidate in ordered
    )
    choices = {name: _best(ordered, rule(ordered, start), eligible).name for name, rule in RULES.items()}
    scores = tuple(RULES[config.rule](ordered, start))
    winner = _best(ordered, scores, eligible)
    warnings = [] if start.outside else [IN_DOMAIN_ONLY]
    warnings += [] if start.in_domain else [NO_IN_DOMAIN]
    warning = "; ".join(warnings) or None
    reason = _reason(winner, start, config, dict(zip((c.name for c in ordered), scores, strict=True)))
    return Selection(winner, winner is not start, reason, warning, config, ordered, eligible, scores, choices)


def as_json(selection: Selection) -> dict[str, Any]:
    """What reports/selection.json holds."""
    start = selection.candidates[0]
    rows = zip(
        selection.candidates,
        selection.eligible,
        selection.scores,
        gains(selection.candidates, start),
        strict=True,
    )
    return {
        "rule": selection.config.rule,
        "in_domain_tolerance": selection.config.in_domain_tolerance,
        "winner": selection.winner.name,
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
                "val_loss": None if candidate.val_loss is None else round(candidate.val_loss, 6),
                "per_dataset": {
                    name: {
                        "score": round(score.value, 6),
                        "start": round(start.outside[name].value, 6),
                        "gain": round(gain[name], 6),
                        "standard_error": round(score.standard_error, 6),
                    }
                    for name, score in candidate.outside.items()
                },
            }
            for candidate, eligible, score, gain in rows
        ],
    }


def _best(candidates: Sequence[Candidate], scores: Sequence[float], eligible: Sequence[bool]) -> Candidate:
    """The highest score among the eligible; `max` keeps the first of equals, the earliest step."""
    among = [(score, c) for score, c, fine in zip(scores, candidates, eligible, strict=True) if fine]
    return max(among, key=lambda pair: pair[0])[1]


def _reason(winner: Candidate, start: Candidate, config: SelectConfig, scores: dict[str, float]) -> str:
    rule = config.rule.replace("_", " ")
    if winner is start:
        return f"no eligible candidate beats the start by {rule}: fine-tuning did not help where it is judged"
    outside = ", ".join(
        f"{name} {start.outside[name].value:.3f} -> {score.value:.3f}" for name, score in winner.outside.items()
    )
    where = f"outside: {outside}; " if outside else ""
    return (
        f"highest {rule} ({scores[winner.name]:.3f}); {where}"
        f"in domain {start.in_domain_score:.3f} -> {winner.in_domain_score:.3f}"
    )
