"""The form of a selection rule, and all rules that there are.

A rule gives every candidate of a `Pool` a score: float64 [..., n], with a leading axis where the pool has resamples.
The highest score wins, unless the base model does (`Rule.beats_base`). To add a rule, declare a `Rule` in a new module
of this package: params accept it, selection.json tells what it would choose, and the report shows that.
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
        kind: its name in params.yaml. label: a few words for tables. description: one sentence without a full stop.
        score: float64 [..., n] of a pool; −inf for a candidate that the rule cannot score.
        reads_out_of_domain: it reads the scores on out-of-domain datasets; without such datasets, the in-domain metric
            takes their place.
        label_free_metric: the metric that it reads of protocols of the kind `label-free`; None if it reads none.
        scores_items: its scores are means over items, so that resamples say how sure a difference is.
        needs_val_loss, needs_steps: it can score only candidates with a validation loss, or with a training step.
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

    @property
    def in_domain_only(self) -> bool:
        """Whether it reads nothing of out-of-domain datasets."""
        return not self.reads_out_of_domain and self.label_free_metric is None

    def is_applicable(self, pool: Pool) -> bool:
        """Whether the metric that it reads was measured."""
        return self.label_free_metric is None or self.label_free_metric in pool.label_free

    def scores(self, pool: Pool) -> Floats:
        """float64 [..., n]; the in-domain metric where it reads out-of-domain datasets and there are none.

        Raises:
            KeyError: it is not applicable.
        """
        if self.reads_out_of_domain and not pool.out_of_domain.shape[-1]:
            return pool.in_domain
        return self.score(pool)

    def beats_base(self, pool: Pool, row: int) -> bool:
        """Whether a candidate beats a base model that the in-domain tolerance excludes.

        A rule that reads out-of-domain datasets counts the in-domain score as one more of them here, so that a gain
        in domain is part of the comparison.
        """
        scores = self.scores(pool.with_in_domain() if self.reads_out_of_domain else pool)
        return bool(scores[row] > scores[0])


def label_free_metrics() -> frozenset[str]:
    """The metrics of label-free protocols that some rule reads."""
    return frozenset(rule.label_free_metric for rule in rules().values() if rule.label_free_metric is not None)


def rules() -> Mapping[str, Rule]:
    """All rules by kind: those that read out-of-domain scores first, then in the order of the modules."""
    found = collect_declarations(__package__, Rule).values()
    return MappingProxyType({rule.kind: rule for rule in sorted(found, key=lambda rule: not rule.reads_out_of_domain)})
