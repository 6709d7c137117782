"""The registry of averaging methods, and the section `average` of params.yaml.

To add a method, declare an `AveragingMethod` with its config class in a new module of this package. params.yaml then
accepts it, and its averages become candidates.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypeAlias

from fclip.config import ByKind, config
from fclip.errors import CannotAverageError
from fclip.extensions import collect_declarations
from fclip.models.candidates import Candidate

SHARES_TOLERANCE = 1e-6
"""How far the sum of shares may be from 1: they are computed in floating point."""


@dataclass(frozen=True)
class Recipe:
    """A new candidate, defined as the average of other candidates' weights.

    Attributes:
        name: unique among all candidates.
        kind: `Candidate.kind`, not one of `TRAINED_KINDS`.
        parents: the averaged candidates, which may be averages themselves, and their shares.
    """

    name: str
    kind: str
    parents: "Shares"


@dataclass(frozen=True)
class TowerShares:
    """The share of each candidate in the image tower and in the text tower of an average. Both sum to 1."""

    images: Mapping[str, float]
    texts: Mapping[str, float]


Shares: TypeAlias = Mapping[str, float] | TowerShares
"""The share of each candidate in an average. They sum to 1. A mapping: both towers have the same shares."""

InDomainScores: TypeAlias = Mapping[str, float]
"""The held metrics on the select data of the training datasets, by `<dataset>.<metric>`; the primary ones first."""

AveragingContext: TypeAlias = Callable[[Sequence[Shares]], Sequence[InDomainScores | None]]
"""Returns the in-domain scores of averages, each given by the share of each candidate, computed on demand. None for an
average whose features are not finite, and for all of them if no training dataset has select data."""


@dataclass(frozen=True)
class AveragingMethod:
    """An averaging method.

    Attributes:
        kind: its name in params.yaml. label: a few words for tables. description: one sentence without a full stop.
        config: its config class, with the field `kind: Literal[...]`.
        recipes: (config, candidates, context) -> the averages to make, in order. `candidates` are those of training
            and the averages of the preceding methods.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    recipes: Callable[[Any, Sequence[Candidate], AveragingContext], Sequence[Recipe]]


def averaging_methods() -> Mapping[str, AveragingMethod]:
    """Return all averaging methods by kind."""
    return collect_declarations(__package__, AveragingMethod)


def check_shares(shares: Shares, candidates: Container[str]) -> None:
    """Raise CannotAverageError if a parent is not among `candidates`, or the shares of a tower do not sum to 1."""
    towers = _of_towers(shares)
    for tower in (towers.images, towers.texts):
        if unknown := [name for name in tower if name not in candidates]:
            raise CannotAverageError(f"its parent {unknown[0]} is not a candidate")
        if not math.isclose(sum(tower.values()), 1, abs_tol=SHARES_TOLERANCE):
            raise CannotAverageError(f"its shares sum to {sum(tower.values()):g}, not to 1")


def trained_ancestors(shares: Shares, candidates: Sequence[Candidate]) -> TowerShares:
    """Return `shares` with every average replaced by its parents, so that only trained candidates remain."""
    by_name = {candidate.name: candidate for candidate in candidates}
    towers = _of_towers(shares)
    return TowerShares(
        images=_expanded(towers.images, {name: each.parents for name, each in by_name.items()}),
        texts=_expanded(towers.texts, {name: each.text_parents or each.parents for name, each in by_name.items()}),
    )


def _of_towers(shares: Shares) -> TowerShares:
    return shares if isinstance(shares, TowerShares) else TowerShares(shares, shares)


def _expanded(shares: Mapping[str, float], parents: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    expanded: dict[str, float] = {}
    for parent, share in shares.items():
        for name, inner_share in (parents[parent] or {parent: 1.0}).items():
            expanded[name] = expanded.get(name, 0.0) + share * inner_share
    return expanded


class MethodConfig(Protocol):
    """Interface of the configs of all averaging methods."""

    @property
    def kind(self) -> str: ...


AnyMethodConfig = Annotated[MethodConfig, ByKind(lambda: [method.config for method in averaging_methods().values()])]


def _default_methods() -> "tuple[MethodConfig, ...]":
    return tuple(averaging_methods()[kind].config(kind=kind) for kind in ("soup", "tower-search"))


@config
class AverageConfig:
    """The section `average`: new candidates as averages of the weights of others."""

    methods: tuple[AnyMethodConfig, ...] = field(default_factory=_default_methods)
    """The averaging methods in their order, each at most once. A method also averages the results of the methods before
    it. []: no averages."""

    def __post_init__(self) -> None:
        kinds = [method.kind for method in self.methods]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"methods must name each kind at most once, not `{twice[0]}` twice")
