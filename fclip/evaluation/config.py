"""What is evaluated on each dataset: the section `evaluate` of params.yaml."""

from dataclasses import replace
from typing import Annotated, TypeAlias

from fclip.config import ByKind, config
from fclip.evaluation.protocols.registry import ProtocolConfig, protocols

AnyProtocol: TypeAlias = Annotated[ProtocolConfig, ByKind(lambda: [own.config for own in protocols().values()])]


@config
class DatasetEvaluation:
    """One dataset's protocols by their names, and the metric by which it selects and gates.

    primary: `<protocol>.<metric>`; of a retrieval `<protocol>.text_to_image.<metric>` or `….image_to_text.<metric>`.
    max_items: products of a split at most; null: all of them.
    slices: attributes by whose values the comparison of two models is looked at.
    newest: an attribute that says when a product came, as a number or an ISO date: the newest tenth is a slice too.
    """

    primary: str
    max_items: int | None
    slices: list[str]
    protocols: dict[str, AnyProtocol]
    newest: str | None = None

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise ValueError("max_items must be null or at least 1")
        if not self.protocols:
            raise ValueError("protocols must hold at least one")
        for name in self.protocols:
            if not name.isidentifier():
                raise ValueError(f"protocols: `{name}` must be a name of letters, digits and underscores")
        declarations = {name: protocols()[own.kind] for name, own in self.protocols.items()}
        chosen = declarations.get(self.primary_protocol)
        if chosen is not None and not chosen.knows_answers:
            raise ValueError(
                f"primary: a {chosen.kind} protocol cannot be a dataset's primary: it knows no right answer"
            )
        known = [f"{name}.{metric}" for name, own in declarations.items() for metric in own.primary_names]
        if self.primary not in known:
            raise ValueError(f"primary must be one of {', '.join(known) or 'none of these protocols can be it'}")

    @property
    def primary_protocol(self) -> str:
        """The name of the protocol that the primary metric is of."""
        return self.primary.partition(".")[0]

    def with_primary_alone(self) -> "DatasetEvaluation":
        """The same with no other protocol than the primary metric's."""
        return replace(self, protocols={self.primary_protocol: self.protocols[self.primary_protocol]})

    @property
    def label(self) -> str | None:
        """The attribute that classes are of: the primary protocol's, else that of the first that has one."""
        ordered = [self.protocols[self.primary_protocol], *self.protocols.values()]
        return next((label for own in ordered if (label := getattr(own, "label", None))), None)


@config
class EvaluateConfig:
    """How evaluation runs, and what it does for each dataset."""

    device: str
    batch_size: int
    resamples: int
    confidence: float
    min_slice: int
    datasets: dict[str, DatasetEvaluation]

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if self.resamples < 10:
            raise ValueError("resamples must be at least 10")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be from 0.5 to below 1")
        if self.min_slice < 1:
            raise ValueError("min_slice must be at least 1")
