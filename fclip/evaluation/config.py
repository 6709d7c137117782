"""The configuration of evaluation: the section `evaluate` of params.yaml."""

from dataclasses import replace
from typing import Annotated, TypeAlias

from fclip.config import ByKind, config
from fclip.evaluation.protocols.registry import ProtocolConfig, protocols

AnyProtocol: TypeAlias = Annotated[ProtocolConfig, ByKind(lambda: [own.config for own in protocols().values()])]


@config
class DatasetEvaluation:
    """How models are evaluated on one dataset."""

    primary: str
    """The metric for selection and the gate: `<protocol>.<metric>`; of a retrieval
    `<protocol>.text_to_image.<metric>` or `<protocol>.image_to_text.<metric>`."""
    holds: tuple[str, ...] = ()
    """More metrics, named as `primary`, that a new model must keep. The gate compares them too, and selection holds
    those of training datasets: a candidate must be within `select.in_domain_tolerance` by each of them."""
    max_items: int | None = None
    """Largest number of products of each split; null: all."""
    slices: tuple[str, ...] = ()
    """Attributes; the comparison of two models shows each of their values separately."""
    protocols: dict[str, AnyProtocol]
    """The protocols by names of your choice."""
    newest: str | None = None
    """Attribute with the date of a product, a number or an ISO date: the newest tenth of the products is one more
    slice. null: none."""

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise ValueError("max_items must be null or at least 1")
        if not self.protocols:
            raise ValueError("protocols must name at least one protocol")
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
        for metric in self.holds:
            if metric not in known:
                raise ValueError(f"holds: `{metric}` is not one of {', '.join(known)}")
        if len(set(self.held)) < len(self.held):
            raise ValueError("holds must name each metric once, and not the primary metric")

    @property
    def held(self) -> tuple[str, ...]:
        """The metrics that selection and the gate compare, the primary metric first."""
        return (self.primary, *self.holds)

    @property
    def primary_protocol(self) -> str:
        """The name of the protocol that the primary metric is of."""
        return self.primary.partition(".")[0]

    def with_held_alone(self) -> "DatasetEvaluation":
        """The same with no other protocols than those of the held metrics."""
        kept = {metric.partition(".")[0] for metric in self.held}
        return replace(self, protocols={name: own for name, own in self.protocols.items() if name in kept})

    @property
    def label(self) -> str | None:
        """The attribute that classes are of: the primary protocol's, else that of the first that has one."""
        ordered = [self.protocols[self.primary_protocol], *self.protocols.values()]
        return next((label for own in ordered if (label := getattr(own, "label", None))), None)


@config
class EvaluateSettings:
    """How evaluation runs, on every dataset."""

    device: str = "auto"
    """`auto` (CUDA if available, otherwise the CPU), `cpu`, `cuda` or `cuda:1`."""
    batch_size: int = 128
    """Images or texts that go through a model at once."""
    resamples: int = 1000
    """Bootstrap resamples for confidence intervals, at least 10."""
    confidence: float = 0.95
    """Confidence level of intervals, from 0.5 to below 1."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if self.resamples < 10:
            raise ValueError("resamples must be at least 10")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be from 0.5 to below 1")


@config
class EvaluateConfig:
    """The section `evaluate`: how evaluation runs, and the protocols of each dataset."""

    settings: EvaluateSettings
    """How evaluation runs, on every dataset."""
    datasets: dict[str, DatasetEvaluation]
    """The evaluation of each dataset in `ingest.datasets`, by its name."""
    min_slice: int = 30
    """Smallest number of items of a slice in the comparison of two models; smaller slices are left out."""

    def __post_init__(self) -> None:
        if self.min_slice < 1:
            raise ValueError("min_slice must be at least 1")
