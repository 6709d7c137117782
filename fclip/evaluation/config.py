"""What is evaluated on each dataset: the section `evaluate` of params.yaml."""

from fclip.config import config

CLASSIFICATION_METRICS = ("acc1", "mean_per_class_recall", "macro_f1", "weighted_f1")
RETRIEVAL_METRICS = ("recall_at_1", "recall_at_5", "recall_at_10", "mrr")


@config
class ClassificationConfig:
    """Zero-shot classification of each product's primary image; products without the label are left out, counted.

    label: the attribute whose values, over all splits, are the classes.
    templates: prompts with `{}` for the class; their features are averaged.
    wordings: what to write for a class where its own name is no English for it, or stands for several things: a text,
        or a list of texts, whose features are averaged too.
    """

    label: str
    templates: list[str]
    wordings: dict[str, str | list[str]]

    def __post_init__(self) -> None:
        if not self.templates or not all("{}" in template for template in self.templates):
            raise ValueError("templates must be at least one text with {} in it")
        if empty := [name for name, wording in self.wordings.items() if not wording or not all(wording)]:
            raise ValueError(f"wordings of {empty[0]} must be a text, or a list of at least one, none of them empty")

    def wordings_of(self, name: str) -> list[str]:
        """What to write for a class."""
        wording = self.wordings.get(name, name)
        return [wording] if isinstance(wording, str) else wording


@config
class RetrievalConfig:
    """Text to image and image to text, by one kind of caption."""

    caption: str


@config
class DatasetEvaluation:
    """One dataset's protocols, and the metric by which it selects and gates (`<protocol>.<metric>`)."""

    primary: str
    max_items: int | None
    classification: ClassificationConfig | None
    retrieval: RetrievalConfig | None

    def __post_init__(self) -> None:
        if self.max_items is not None and self.max_items < 1:
            raise ValueError("max_items must be null or at least 1")
        known = [f"classification.{metric}" for metric in CLASSIFICATION_METRICS if self.classification]
        if self.retrieval:
            known += [f"{way}.{metric}" for way in ("text_to_image", "image_to_text") for metric in RETRIEVAL_METRICS]
        if not known:
            raise ValueError("classification or retrieval must be given")
        if self.primary not in known:
            raise ValueError(f"primary must be one of {', '.join(known)}")


@config
class EvaluateConfig:
    """How evaluation runs, and what it does for each dataset."""

    device: str
    batch_size: int
    resamples: int
    confidence: float
    datasets: dict[str, DatasetEvaluation]

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1")
        if self.resamples < 10:
            raise ValueError("resamples must be at least 10")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be from 0.5 to below 1")
