"""What a shop prefers: its own catalog, other kinds of pictures and texts, or both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Preference: TypeAlias = Literal["catalog", "balanced", "elsewhere"]


@dataclass(frozen=True)
class Pick:
    """What a preference selects: the choice of the rule with another in-domain tolerance.

    Attributes:
        tolerances: its tolerance, in multiples of `select.in_domain_tolerance`.
    """

    label: str
    description: str
    tolerances: int


PICKS: Mapping[Preference, Pick] = {
    "catalog": Pick("best for my catalog", "as good on the catalog as the best candidate, up to chance", 0),
    "balanced": Pick("balanced", "gives up at most the tolerance on the catalog", 1),
    "elsewhere": Pick("best elsewhere", "gives up at most three times the tolerance on the catalog", 3),
}
