"""The regret of selection rules: they select with some datasets and are measured on one that they did not read.

A table has the candidates of one run with all their scores. Each out-of-domain dataset of a table is held out in turn,
and the rules select with every subset of the others, by `fclip.selection.select` with its tolerance and near ties.
Regret is the best candidate's score on the held-out dataset minus the selected one's. The in-domain cost
is the same difference in-domain. The best candidate is found on one half of the held-out items, both are scored on the
other half, and the halves are then swapped: otherwise chance would count as regret.

Where datasets disagree, no rule can suit all of them. `hindsight` is therefore the one candidate of a run with the best
mean over all out-of-domain datasets, the held-out one included (on the half on which the best is found).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from fclip.selection.candidates import Floats, ScoredCandidate
from fclip.selection.config import SelectConfig
from fclip.selection.rules.registry import Rule, rules
from fclip.selection.select import select

BASE_MODEL, RANDOM, HINDSIGHT = "base-model", "random", "hindsight"
ALL, TRAINED = "all", "trained"
USUAL_TIES = 0.8
"""The confidence of near ties that is shown if only one is."""


@dataclass(frozen=True)
class ScoreTable:
    """One run: its candidates with their in-domain and out-of-domain scores, the base model first.

    Attributes:
        halves: out-of-domain dataset -> float64 [n, 2], the score of each candidate on each half of the items; without
            halves, the whole score twice.
        cost: float64 [n, 2], the same for the in-domain score that measures the cost.
        more_costs: the same for every other metric that selection holds in domain.
    """

    name: str
    candidates: tuple[ScoredCandidate, ...]
    halves: Mapping[str, Floats]
    cost: Floats
    more_costs: Mapping[str, Floats] = field(default_factory=dict)

    @property
    def out_of_domain(self) -> tuple[str, ...]:
        """The names of the out-of-domain datasets."""
        return tuple(self.candidates[0].out_of_domain)


@dataclass(frozen=True)
class RuleSetting:
    """A rule or a baseline, and the options it selects with.

    Attributes:
        pool: the candidates to select from: `all`, or `trained` (without weight averages).
        num_datasets: number of out-of-domain datasets that the rule reads.
        tolerance: the in-domain tolerance, in the units of the scores; inf: none.
        tie_confidence: the confidence of near ties; None: near ties are off.
    """

    rule: str
    pool: str = ALL
    num_datasets: int = 0
    tolerance: float = math.inf
    tie_confidence: float | None = None


@dataclass(frozen=True)
class RuleChoice:
    """The regret and cost of one selection: one table, one held-out dataset.

    Attributes:
        more_costs: the cost by every other metric that selection holds in domain.
    """

    setting: RuleSetting
    run: str
    held_out: str
    regret: float
    in_domain_cost: float
    more_costs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Regret:
    """Means of a setting over runs and held-out datasets.

    Attributes:
        low, high: 95 % bootstrap bounds of the regret; clusters are (held-out dataset, run).
    """

    setting: RuleSetting
    regret: float
    low: float
    high: float
    in_domain_cost: float
    num_choices: int


def study(
    tables: Sequence[ScoreTable], tolerances: Sequence[float], tie_confidences: Sequence[float] = ()
) -> list[Regret]:
    """Return the regret of every rule that the tables support, at every tolerance, and of the three baselines.

    The baselines are `base-model`, `random` and `hindsight`.
    """
    return summarise(list(choices(tables, tolerances, tie_confidences)))


def reference_regret(regrets: Sequence[Regret]) -> Regret:
    """Return the regret of common practice, for comparison: the in-domain loss without weight averages.

    If the tables have no loss, it is the in-domain metric.
    """
    in_domain = {rule.kind for rule in rules().values() if rule.in_domain_only}
    without_tolerance = [
        entry for entry in regrets if entry.setting.rule in in_domain and math.isinf(entry.setting.tolerance)
    ]
    return min(
        without_tolerance, key=lambda entry: (entry.setting.rule != "in_domain_loss", entry.setting.pool != TRAINED)
    )


def choices(
    tables: Sequence[ScoreTable],
    tolerances: Sequence[float],
    tie_confidences: Sequence[float],
    *,
    with_subsets: bool = True,
) -> Iterator[RuleChoice]:
    """Yield all selections, from all candidates and, if any table has averages, also from the trained candidates alone.

    Near ties are used where a rule reads all out-of-domain datasets but the held-out one.

    Args:
        with_subsets: whether rules also read fewer out-of-domain datasets.
    """
    has_averages = any(scored.candidate.is_average for table in tables for scored in table.candidates)
    for table in tables:
        yield from _baseline_choices(table, tolerances)
        for pool in (ALL, TRAINED) if has_averages else (ALL,):
            yield from _rule_choices(table, pool, tolerances, tie_confidences, with_subsets=with_subsets)


def _baseline_choices(table: ScoreTable, tolerances: Sequence[float]) -> Iterator[RuleChoice]:
    finite = [row for row, candidate in enumerate(table.candidates) if candidate.num_nonfinite == 0]
    in_hindsight = {tolerance: _hindsight(table, tolerance) for tolerance in tolerances}
    for held_out in table.out_of_domain:
        yield RuleChoice(RuleSetting(BASE_MODEL), table.name, held_out, *_regret_and_cost(table, held_out, [0], [0]))
        yield RuleChoice(RuleSetting(RANDOM), table.name, held_out, *_regret_and_cost(table, held_out, finite, finite))
        for tolerance, rows in in_hindsight.items():
            yield RuleChoice(
                RuleSetting(HINDSIGHT, tolerance=tolerance),
                table.name,
                held_out,
                *_regret_and_cost(table, held_out, *rows),
            )


def _rule_choices(
    table: ScoreTable,
    pool: str,
    tolerances: Sequence[float],
    tie_confidences: Sequence[float],
    *,
    with_subsets: bool,
) -> Iterator[RuleChoice]:
    rows = [row for row, scored in enumerate(table.candidates) if pool == ALL or not scored.candidate.is_average]
    for held_out, read in _held_out(table, with_subsets=with_subsets):
        visible = [_with_datasets(table.candidates[row], read) for row in rows]
        reads_all_others = len(read) == len(table.out_of_domain) - 1
        for tolerance in tolerances:
            for ties in (None, *(tie_confidences if reads_all_others else ())):
                config = SelectConfig(rule="last", in_domain_tolerance=tolerance, tie_confidence=ties)
                for kind, name in select(visible, config).choices.items():
                    rule = rules()[kind]
                    if (rule.in_domain_only and not reads_all_others) or not _supports(table, rule):
                        continue
                    if ties is not None and not rule.reads_out_of_domain:
                        continue
                    row = next(row for row in rows if table.candidates[row].name == name)
                    setting = RuleSetting(kind, pool, 0 if rule.in_domain_only else len(read), tolerance, ties)
                    yield RuleChoice(setting, table.name, held_out, *_regret_and_cost(table, held_out, [row], [row]))


def summarise(all_choices: Sequence[RuleChoice], *, resamples: int = 1000, seed: int = 0) -> list[Regret]:
    """Return the means of each setting's choices, in the order in which the settings first appear."""
    by_setting: dict[RuleSetting, list[RuleChoice]] = {}
    for choice in all_choices:
        by_setting.setdefault(choice.setting, []).append(choice)
    return [Regret(setting, *_mean(group, resamples, seed)) for setting, group in by_setting.items()]


def _mean(group: Sequence[RuleChoice], resamples: int, seed: int) -> tuple[float, float, float, float, int]:
    clusters: dict[tuple[str, str], list[float]] = {}
    for choice in group:
        clusters.setdefault((choice.held_out, choice.run), []).append(choice.regret)
    means = np.array([np.mean(values) for values in clusters.values()])  # all clusters have the same number of choices
    drawn = np.random.default_rng([seed, len(means)]).integers(len(means), size=(resamples, len(means)))
    low, high = np.quantile(means[drawn].mean(axis=1), [0.025, 0.975])
    cost = float(np.mean([choice.in_domain_cost for choice in group]))
    return float(means.mean()), float(low), float(high), cost, len(group)


def _held_out(table: ScoreTable, *, with_subsets: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (held-out dataset, the datasets that the rules read)."""
    for held_out in table.out_of_domain:
        others = [name for name in table.out_of_domain if name != held_out]
        for size in range(1 if with_subsets else len(others), len(others) + 1):
            for read in combinations(others, size):
                yield held_out, read


def _with_datasets(candidate: ScoredCandidate, read: Sequence[str]) -> ScoredCandidate:
    return replace(
        candidate,
        out_of_domain={name: candidate.out_of_domain[name] for name in read},
        label_free={name: values for name, values in candidate.label_free.items() if name in read},
    )


def _supports(table: ScoreTable, rule: Rule) -> bool:
    """Whether a table contains what a rule reads. The public table has no losses and no order of checkpoints."""
    candidates = [scored.candidate for scored in table.candidates[1:]]
    has_losses = any(candidate.val_loss is not None for candidate in candidates)
    has_steps = any(candidate.step for candidate in candidates)
    return (has_losses or not rule.needs_val_loss) and (has_steps or not rule.needs_steps)


def _hindsight(table: ScoreTable, tolerance: float) -> tuple[list[int], list[int]]:
    """Return the eligible row with the best out-of-domain mean, for the first halves and for the second halves."""
    in_domain = np.array([each.in_domain_score if each.num_nonfinite == 0 else -np.inf for each in table.candidates])
    within_tolerance = in_domain >= in_domain.max() - tolerance
    eligible = np.isfinite(in_domain) & within_tolerance | (np.arange(len(in_domain)) == 0)
    means = np.mean([table.halves[name] for name in table.out_of_domain], axis=0)
    first, second = (int(np.where(eligible, means[:, half], -np.inf).argmax()) for half in (0, 1))
    return [first], [second]


def rule_label(kind: str) -> str:
    """Return the label of a rule or a baseline for tables."""
    return rules()[kind].label if kind in rules() else kind


def _regret_and_cost(table: ScoreTable, held_out: str, *rows: Sequence[int]) -> tuple[float, float, tuple[float, ...]]:
    """Return the mean regret on the held-out dataset, the mean in-domain cost, and the mean of each other cost.

    Args:
        rows: the selected rows if the best is found on the first half, and those if it is found on the second half.
    """
    finite = np.array([candidate.num_nonfinite == 0 for candidate in table.candidates])
    more = tuple(_below_best(halves, finite, rows) for halves in table.more_costs.values())
    return _below_best(table.halves[held_out], finite, rows), _below_best(table.cost, finite, rows), more


def _below_best(halves: Floats, finite: Floats, rows: Sequence[Sequence[int]]) -> float:
    gaps = []
    for half in (0, 1):
        best = int(np.where(finite, halves[:, half], -np.inf).argmax())
        gaps.append(halves[best, 1 - half] - halves[list(rows[half]), 1 - half].mean())
    return float(np.mean(gaps))
