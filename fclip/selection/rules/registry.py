"""The declaration of selection rules, and the registry of all rules.

A rule scores every candidate of a `Pool`: float64 [..., n], with a leading axis if the pool contains resamples. The
eligible candidate with the highest score wins, unless the base model beats it (`Rule.beats_base`). To add a rule,
declare a `Rule` in a new module of this package. Params then accept it, and selection.json and the report show the
candidate that it selects.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fclip.extensions import collect_declarations
from fclip.selection.candidates import Floats, Pool


@dataclass(frozen=True)
class Rule:
    """A selection rule.

    Attributes:
        kind: the name in params.yaml. label: a few words for tables. description: one phrase without a full stop.
        score: the function from a pool to scores, float64 [..., n]; −inf for a candidate that the rule cannot score.
        reads_out_of_domain: whether it reads the scores on out-of-domain datasets.
        label_free_metric: the metric of label-free protocols that it reads; None if it reads none.
        scores_items: whether its scores are means over items, so that resamples show the uncertainty of a difference.
        needs_val_loss, needs_steps: whether it scores only candidates that have a validation loss or a training step.
        prefers_base: whether the base model has the highest possible score, so that it wins if and only if it is within
            the in-domain tolerance. Without in-domain scores it would always win, so the rule needs them.
    """

    kind: str
    label: str
    description: str
    score: Callable[[Pool], Floats]
    reads_out_of_domain: bool = False
    label_free_metric: str | None = None
    scores_items: bool = False
    needs_val_loss: bool = False
    needs_steps: bool = False
    prefers_base: bool = False

    @property
    def in_domain_only(self) -> bool:
        """Whether the rule reads no metric of out-of-domain datasets."""
        return not self.reads_out_of_domain and self.label_free_metric is None

    def is_applicable(self, pool: Pool) -> bool:
        """Whether everything that the rule reads was measured."""
        has_datasets = not self.reads_out_of_domain or pool.out_of_domain.shape[-1] > 0
        has_datasets &= not self.prefers_base or pool.held.shape[-1] > 0
        return has_datasets and (self.label_free_metric is None or self.label_free_metric in pool.label_free)

    def scores(self, pool: Pool) -> Floats:
        """Return the scores of all candidates, float64 [..., n]. The rule must be applicable."""
        return self.score(pool)

    def beats_base(self, pool: Pool, row: int) -> bool:
        """Whether the candidate in `row` beats a base model that is outside the in-domain tolerance.

        For a rule that reads out-of-domain datasets, the in-domain score counts as one more dataset, so that the gain
        in domain is part of the comparison. For a rule that prefers the base model, the gain in domain is enough.
        """
        if self.prefers_base:
            return True
        scores = self.scores(pool.with_in_domain() if self.reads_out_of_domain else pool)
        return bool(scores[row] > scores[0])


def label_free_metrics() -> frozenset[str]:
    """The label-free metrics that at least one rule reads."""
    return frozenset(rule.label_free_metric for rule in rules().values() if rule.label_free_metric is not None)


def rules() -> Mapping[str, Rule]:
    """All rules by kind: first those that prefer the base model, then those that read out-of-domain scores."""
    all_rules = collect_declarations(__package__, Rule).values()
    return MappingProxyType({rule.kind: rule for rule in sorted(all_rules, key=_order)})


def _order(rule: Rule) -> int:
    return 0 if rule.prefers_base else 1 if rule.reads_out_of_domain else 2
