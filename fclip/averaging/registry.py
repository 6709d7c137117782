"""The form of an averaging method, all methods that there are, and the section `average` of params.yaml.

To add a method, declare a `Method` in a new module of this package, with a config of its own: params accept it, and its
averages are candidates like all others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from fclip.config import ByKind, config
from fclip.extensions import declared
from fclip.models.candidates import Candidate


@dataclass(frozen=True)
class Recipe:
    """A new candidate as the average of others' weights.

    Attributes:
        name: unique among all candidates.
        kind: as `Candidate.kind`, none of `TRAINED_KINDS`.
        parents: candidates, averages among them, and the share of each; the shares sum to 1.
    """

    name: str
    kind: str
    parents: Mapping[str, float]


@dataclass(frozen=True)
class Context:
    """What a method may ask for, computed when it asks.

    Attributes:
        scores: names of candidates -> the in-domain score of each: the mean of the primary metrics on the select data
            of the datasets that train. Candidates with features that are not finite are left out. Empty if no such
            dataset selects.
        score_of_average: the same score of an average of candidates, given by the share of each; −inf if its features
            are not finite, or if no such dataset selects.
    """

    scores: Callable[[Sequence[str]], Mapping[str, float]]
    score_of_average: Callable[[Mapping[str, float]], float]


@dataclass(frozen=True)
class Method:
    """An averaging method.

    Attributes:
        kind: its name in params.yaml. label: a few words for tables. description: one sentence without a full stop.
        config: its config, with the key `kind: Literal[...]`.
        recipes: (config, candidates, context) -> the averages to make, in order. `candidates` are those of the training
            and the averages of the methods before it.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    recipes: Callable[[Any, Sequence[Candidate], Context], Sequence[Recipe]]


def methods() -> Mapping[str, Method]:
    """All averaging methods by kind."""
    return declared(__package__, Method)


def trained_parents(parents: Mapping[str, float], candidates: Sequence[Candidate]) -> dict[str, float]:
    """`parents` with every average replaced by its own parents, so that only trained candidates are left."""
    by_name = {candidate.name: candidate for candidate in candidates}
    found: dict[str, float] = {}
    for parent, share in parents.items():
        for name, own in (by_name[parent].parents or {parent: 1.0}).items():
            found[name] = found.get(name, 0.0) + share * own
    return found


class MethodConfig(Protocol):
    """What the configs of all methods have."""

    @property
    def kind(self) -> str: ...


AnyMethodConfig = Annotated[MethodConfig, ByKind(lambda: [method.config for method in methods().values()])]


def _usual_methods() -> "tuple[MethodConfig, ...]":
    return tuple(methods()[kind].config(kind=kind) for kind in ("soup", "interpolation"))


@config
class AverageConfig:
    """The section `average`: new candidates as averages of the weights of others."""

    methods: tuple[AnyMethodConfig, ...] = field(default_factory=_usual_methods)
    """The averaging methods in their order, each at most once. A method also averages the results of the methods before
    it. []: no averages."""

    def __post_init__(self) -> None:
        kinds = [method.kind for method in self.methods]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"methods must name each kind at most once, not `{twice[0]}` twice")
