"""What a selection rule is worth: chosen by some datasets, judged on one that it never saw.

Each outside dataset is held out in turn, and the rule chooses by every subset of a size of the others. Regret is what
the best candidate has more there than the chosen one; the in-domain cost is what the best in domain has more in domain.
The rules are those of `fclip.selection.select`, with its tolerance.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from fclip.selection.candidates import Candidate
from fclip.selection.config import SelectConfig
from fclip.selection.rules import RULES
from fclip.selection.select import select

NOT_OF_A_TABLE = ("in_domain_loss", "last")
"""Rules that read what a table of scores does not hold: losses, and the order of checkpoints."""
IN_DOMAIN = "in_domain_metric"


@dataclass(frozen=True)
class Scores:
    """Scores of models: `candidates` in domain and on all outside datasets, the start first.

    in_domain_cost: of each candidate, what the in-domain cost is measured by, which no rule reads.
    """

    candidates: tuple[Candidate, ...]
    in_domain_cost: tuple[float, ...]

    @property
    def outside(self) -> tuple[str, ...]:
        """The outside datasets."""
        return tuple(self.candidates[0].outside)


@dataclass(frozen=True)
class Regret:
    """A rule's means over held-out datasets, and over the subsets that it chose by.

    num_datasets: how many outside datasets the rule read; 0: it reads none.
    tolerance: in domain, in the units of the scores; inf: none.
    """

    rule: str
    num_datasets: int
    tolerance: float
    regret: float
    in_domain_cost: float
    num_choices: int


def study(scores: Scores, tolerances: Sequence[float]) -> list[Regret]:
    """Every rule that a table can be judged by, at every tolerance, and the baselines `start` and `random`."""
    every = range(len(scores.candidates))
    found = [
        _mean("start", 0, math.inf, [_lost(scores, held, 0) for held in scores.outside]),
        _mean("random", 0, math.inf, [_lost(scores, held, row) for held in scores.outside for row in every]),
    ]
    for tolerance in tolerances:
        for rule in RULES:
            if rule in NOT_OF_A_TABLE:
                continue
            config = SelectConfig(rule=rule, in_domain_tolerance=tolerance)
            sizes = [0] if rule == IN_DOMAIN else range(1, len(scores.outside))
            for size in sizes:
                lost = [_lost(scores, held, _choose(scores, read, config)) for held, read in _held_out(scores, size)]
                found.append(_mean(rule, size, tolerance, lost))
    return found


def _held_out(scores: Scores, size: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(the dataset held out, those that the rule reads)."""
    for held in scores.outside:
        for read in combinations([name for name in scores.outside if name != held], size):
            yield held, read


def _choose(scores: Scores, read: tuple[str, ...], config: SelectConfig) -> int:
    told = [replace(each, outside={name: each.outside[name] for name in read}) for each in scores.candidates]
    return told.index(select(told, config).winner)


def _lost(scores: Scores, held: str, row: int) -> tuple[float, float]:
    values = [candidate.outside[held].value for candidate in scores.candidates]
    return max(values) - values[row], max(scores.in_domain_cost) - scores.in_domain_cost[row]


def _mean(rule: str, size: int, tolerance: float, lost: Sequence[tuple[float, float]]) -> Regret:
    regret, cost = (sum(column) / len(lost) for column in zip(*lost, strict=True))
    return Regret(rule, size, tolerance, regret, cost, len(lost))
