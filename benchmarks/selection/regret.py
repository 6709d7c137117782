"""The regret of selection rules: they choose by some datasets, and are judged on one that they did not read.

In each table (a run's candidates with all their scores) each out-of-domain dataset is held out in turn, and the rules
choose by every subset of the others; `fclip.selection.select` chooses, with its tolerance and its near-ties. Regret is
the difference between the best of all candidates and the chosen one there; the in-domain cost is the difference between
the best in domain and the chosen one in domain. The best is found on one half of the held-out items and both are scored
on the other half, and the other way round: otherwise luck would count as regret.

Where datasets disagree, no rule can suit all of them: `hindsight` is the one candidate of a run with the best mean of
all out-of-domain datasets, the held-out one among them (on the half on which the best is found).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from fclip.selection.candidates import Floats, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.rules.registry import Rule, rules
from fclip.selection.select import select

BASE_MODEL, RANDOM, HINDSIGHT = "base-model", "random", "hindsight"
ALL, TRAINED = "all", "trained"
USUAL_TIES = 0.8
"""The confidence of ties that is shown where one is."""


@dataclass(frozen=True)
class ScoreTable:
    """One run: its candidates with their scores in domain and on all out-of-domain datasets, the base model first.

    Attributes:
        halves: out-of-domain dataset -> float64 [n, 2], each candidate's score on either half of its items; the whole
            score twice if there are no halves.
        cost: float64 [n, 2], the same of what the in-domain cost is measured by.
    """

    name: str
    candidates: tuple[ScoredCandidate, ...]
    halves: Mapping[str, Floats]
    cost: Floats

    @property
    def out_of_domain(self) -> tuple[str, ...]:
        """The out-of-domain datasets."""
        return tuple(self.candidates[0].out_of_domain)


@dataclass(frozen=True)
class RuleSetting:
    """How is chosen, and from what.

    Attributes:
        pool: among which candidates: all, or those that training left.
        num_datasets: how many out-of-domain datasets the rule reads; 0: it reads none.
        tolerance: in domain, in the units of the scores; inf: none. tie_confidence: None: near-ties do not count.
    """

    rule: str
    pool: str = ALL
    num_datasets: int = 0
    tolerance: float = math.inf
    tie_confidence: float | None = None


@dataclass(frozen=True)
class RuleChoice:
    """What was chosen in one table, and what that is worth on the dataset held out."""

    setting: RuleSetting
    run: str
    held: str
    regret: float
    in_domain_cost: float


@dataclass(frozen=True)
class Regret:
    """The means over runs and held-out datasets, with the bounds of 95 % over both of them as clusters."""

    setting: RuleSetting
    regret: float
    low: float
    high: float
    in_domain_cost: float
    num_choices: int


def study(
    tables: Sequence[ScoreTable], tolerances: Sequence[float], tie_confidences: Sequence[float] = ()
) -> list[Regret]:
    """Every rule that the tables can be judged by, at every tolerance, with `start`, `random` and `hindsight`."""
    return summarise(list(choices(tables, tolerances, tie_confidences)))


def reference_regret(found: Sequence[Regret]) -> Regret:
    """What pipelines commonly do, to compare with: by loss in domain, or by metric where there is none, no average."""
    in_domain = {rule.kind for rule in rules().values() if rule.in_domain_only}
    own = [entry for entry in found if entry.setting.rule in in_domain and math.isinf(entry.setting.tolerance)]
    return min(own, key=lambda entry: (entry.setting.rule != "in_domain_loss", entry.setting.pool != TRAINED))


def choices(
    tables: Sequence[ScoreTable], tolerances: Sequence[float], tie_confidences: Sequence[float]
) -> Iterator[RuleChoice]:
    """All that is chosen, among all candidates and, where any table has averages, among what training left.

    Near-ties count where a rule reads all the other datasets.
    """
    has_averages = any(one.candidate.is_average for table in tables for one in table.candidates)
    for table in tables:
        yield from _baselines(table, tolerances)
        for pool in (ALL, TRAINED) if has_averages else (ALL,):
            yield from _chosen(table, pool, tolerances, tie_confidences)


def _baselines(table: ScoreTable, tolerances: Sequence[float]) -> Iterator[RuleChoice]:
    finite = [row for row, candidate in enumerate(table.candidates) if candidate.num_nonfinite == 0]
    in_hindsight = {tolerance: _hindsight(table, tolerance) for tolerance in tolerances}
    for held in table.out_of_domain:
        yield RuleChoice(RuleSetting(BASE_MODEL), table.name, held, *_lost(table, held, [0], [0]))
        yield RuleChoice(RuleSetting(RANDOM), table.name, held, *_lost(table, held, finite, finite))
        for tolerance, rows in in_hindsight.items():
            yield RuleChoice(RuleSetting(HINDSIGHT, tolerance=tolerance), table.name, held, *_lost(table, held, *rows))


def _chosen(
    table: ScoreTable, pool: str, tolerances: Sequence[float], tie_confidences: Sequence[float]
) -> Iterator[RuleChoice]:
    rows = [row for row, one in enumerate(table.candidates) if pool == ALL or not one.candidate.is_average]
    for held, read in _held_out(table):
        told = [_told(table.candidates[row], read) for row in rows]
        whole = len(read) == len(table.out_of_domain) - 1
        for tolerance in tolerances:
            for ties in (None, *(tie_confidences if whole else ())):
                config = SelectConfig(rule="last", in_domain_tolerance=tolerance, tie_confidence=ties)
                for kind, name in select(told, config).choices.items():
                    rule = rules()[kind]
                    if (rule.in_domain_only and not whole) or not _has(table, rule):
                        continue
                    if ties is not None and not rule.reads_out_of_domain:
                        continue
                    row = next(row for row in rows if table.candidates[row].name == name)
                    setting = RuleSetting(kind, pool, 0 if rule.in_domain_only else len(read), tolerance, ties)
                    yield RuleChoice(setting, table.name, held, *_lost(table, held, [row], [row]))


def summarise(found: Sequence[RuleChoice], *, resamples: int = 1000, seed: int = 0) -> list[Regret]:
    """The means of each setting's choices, in the order of their first; clusters are (held-out dataset, run)."""
    chosen: dict[RuleSetting, list[RuleChoice]] = {}
    for one in found:
        chosen.setdefault(one.setting, []).append(one)
    return [Regret(setting, *_mean(own, resamples, seed)) for setting, own in chosen.items()]


def _mean(own: Sequence[RuleChoice], resamples: int, seed: int) -> tuple[float, float, float, float, int]:
    clusters: dict[tuple[str, str], list[float]] = {}
    for one in own:
        clusters.setdefault((one.held, one.run), []).append(one.regret)
    means = np.array([np.mean(values) for values in clusters.values()])  # of as many choices each
    drawn = np.random.default_rng([seed, len(means)]).integers(len(means), size=(resamples, len(means)))
    low, high = np.quantile(means[drawn].mean(axis=1), [0.025, 0.975])
    cost = float(np.mean([one.in_domain_cost for one in own]))
    return float(means.mean()), float(low), float(high), cost, len(own)


def _held_out(table: ScoreTable) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(the dataset held out, those that the rules read)."""
    for held in table.out_of_domain:
        others = [name for name in table.out_of_domain if name != held]
        for size in range(1, len(others) + 1):
            for read in combinations(others, size):
                yield held, read


def _told(candidate: ScoredCandidate, read: Sequence[str]) -> ScoredCandidate:
    return replace(
        candidate,
        out_of_domain={name: candidate.out_of_domain[name] for name in read},
        label_free={name: own for name, own in candidate.label_free.items() if name in read},
    )


def _has(table: ScoreTable, rule: Rule) -> bool:
    """Whether a table holds what a rule reads: a public one has no losses, and no order of checkpoints."""
    candidates = [one.candidate for one in table.candidates[1:]]
    has_losses = any(candidate.val_loss is not None for candidate in candidates)
    has_steps = any(candidate.step for candidate in candidates)
    return (has_losses or not rule.needs_val_loss) and (has_steps or not rule.needs_steps)


def _hindsight(table: ScoreTable, tolerance: float) -> tuple[list[int], list[int]]:
    """The eligible row with the best out-of-domain mean, by the first halves of the datasets and by the second."""
    inside = np.array([one.in_domain_score if one.num_nonfinite == 0 else -np.inf for one in table.candidates])
    eligible = np.isfinite(inside) & (inside >= inside.max() - tolerance) | (np.arange(len(inside)) == 0)
    means = np.mean([table.halves[name] for name in table.out_of_domain], axis=0)
    first, second = (int(np.where(eligible, means[:, half], -np.inf).argmax()) for half in (0, 1))
    return [first], [second]


def rule_label(kind: str) -> str:
    """A rule, or a baseline, in a few words."""
    return rules()[kind].label if kind in rules() else kind


def _lost(table: ScoreTable, held: str, *rows: Sequence[int]) -> tuple[float, float]:
    """Regret on the held-out dataset and cost in domain of `rows`, the mean of them.

    Args:
        rows: those chosen when the best is sought on the first half, and when it is sought on the second.
    """
    finite = np.array([candidate.num_nonfinite == 0 for candidate in table.candidates])
    return _below_best(table.halves[held], finite, rows), _below_best(table.cost, finite, rows)


def _below_best(halves: Floats, finite: Floats, rows: Sequence[Sequence[int]]) -> float:
    lost = []
    for half in (0, 1):
        best = int(np.where(finite, halves[:, half], -np.inf).argmax())
        lost.append(halves[best, 1 - half] - halves[list(rows[half]), 1 - half].mean())
    return float(np.mean(lost))
