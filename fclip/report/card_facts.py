"""The facts in a model card, and their JSON form, which a registered version keeps (`card.json`)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fclip.audits.result import AuditResult
from fclip.models.candidates import Candidate
from fclip.report.inputs import CandidateScores, DerivedData, MetricResult
from fclip.selection.result import SelectionResult


@dataclass(frozen=True)
class ModelFacts:
    """What the model folder says.

    Attributes:
        image_side: side of the square input in pixels. context_length: tokens that the text tower reads.
        dim: length of an embedding. resize_mode: as in `fclip.models.preprocess`.
    """

    model_sha256: str
    image_side: int
    context_length: int
    dim: int
    resize_mode: str


@dataclass(frozen=True)
class SplitFacts:
    """Counts of one split of a dataset; None: not known.

    Attributes:
        role: "train", "select", "report", or None if the split is not used.
        num_images: distinct images.
    """

    split: str
    role: str | None
    num_products: int
    num_images: int | None
    num_captions: int | None


@dataclass(frozen=True)
class DatasetFacts:
    """One dataset.

    Attributes:
        source: label of the kind of its source.
        title, home, hub, licence: from its description, if it is a published dataset; `hub` is a repository.
    """

    name: str
    source: str
    splits: tuple[SplitFacts, ...]
    title: str | None = None
    home: str | None = None
    hub: str | None = None
    licence: str | None = None

    @property
    def trains(self) -> bool:
        """Whether a split has the role `train`."""
        return any(split.role == "train" for split in self.splits)


@dataclass(frozen=True)
class TrainingFacts:
    """How the model was made.

    Attributes:
        base_model: name of the base model. base_model_hub: its repository on the hub, if it is from there.
        candidate: the model among the candidates of its run.
        epochs, batch_size, learning_rate, trainable, loss: as in the section `finetune` of params.
        captions: shares of the kinds of caption. background_share: share of the images on white that got another
            background.
    """

    base_model: str
    base_model_hub: str | None
    candidate: Candidate
    epochs: int
    batch_size: int
    learning_rate: float
    trainable: str
    loss: str
    captions: Mapping[str, float]
    background_share: float


@dataclass(frozen=True)
class CardFacts:
    """All that the model card says. What is not known is None or empty, and the card leaves it out or names it so.

    Attributes:
        name: title of the card.
        registered_model: name of the registered model of the workspace; None without a workspace.
        results: before: of the base model; after: of this model.
        confidence: level of the intervals.
        selection, scores: of the run that the model is a candidate of.
        lineage: the tags of a version (`fclip.registry.tags`).
        audits: of this model.
        derived: the datasets of changed copies of others.
    """

    name: str
    model: ModelFacts
    registered_model: str | None = None
    datasets: tuple[DatasetFacts, ...] = ()
    training: TrainingFacts | None = None
    results: tuple[MetricResult, ...] = ()
    confidence: float | None = None
    selection: SelectionResult | None = None
    scores: CandidateScores | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    audits: tuple[AuditResult, ...] = ()
    derived: tuple[DerivedData, ...] = ()


def facts_to_json(facts: CardFacts) -> dict[str, Any]:
    """Return the facts as JSON values. Numbers may be NaN."""
    return asdict(facts)


def facts_from_json(values: Any) -> CardFacts:
    """Return the facts from the result of `facts_to_json`; raises ValueError for other content."""
    from pydantic import TypeAdapter

    return TypeAdapter(CardFacts).validate_python(values)
