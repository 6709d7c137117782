"""Zero-shot classification of a user's images."""

import csv
import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fclip.embeddings.files import embed_batch
from fclip.embeddings.inputs import InputRows
from fclip.files import atomic_write
from fclip.progress import Tracker
from fclip.runtime.model import Model


@dataclass(frozen=True)
class Classified:
    """The class of an image.

    Attributes:
        label: the most probable class; "" if the image cannot be read.
        probability: of this class. probabilities: of every class, in the order of the request.
        error: why the image cannot be read.
    """

    id: str
    label: str = ""
    probability: float = 0.0
    probabilities: tuple[float, ...] = ()
    error: str = ""


def classify_rows(
    model: Model, rows: InputRows, classes: Sequence[str], templates: Sequence[str], *, batch_size: int
) -> list[Classified]:
    """Classify images, in order.

    Raises:
        UserError: there are fewer than two classes, or a template has no `{}`.
    """
    embedded_classes = model.embed_classes(classes, templates)
    results: dict[int, Classified] = {}
    with closing(Tracker("Classifying", total=len(rows.values), unit="images")) as tracker:
        for start in range(0, len(rows.values), batch_size):
            errors: dict[int, str] = {}
            batch = range(start, min(start + batch_size, len(rows.values)))
            kept, vectors = embed_batch(model, rows, batch, errors)
            for index, row in zip(kept, model.class_probabilities(vectors, embedded_classes).tolist(), strict=True):
                best = max(range(len(row)), key=row.__getitem__)
                results[index] = Classified(rows.ids[index], classes[best], row[best], tuple(row))
            results |= {index: Classified(rows.ids[index], error=reason) for index, reason in errors.items()}
            tracker.advance(len(batch))
    return [results[index] for index in range(len(rows.values))]


def write_classes(path: Path, results: Sequence[Classified], classes: Sequence[str]) -> None:
    """Write a CSV file with the columns id, class, probability, error and the probability of each class."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["id", "class", "probability", "error", *classes])
    for result in results:
        values = [f"{value:.6f}" for value in result.probabilities] or [""] * len(classes)
        probability = f"{result.probability:.6f}" if result.label else ""
        writer.writerow([result.id, result.label, probability, result.error, *values])
    atomic_write(path, buffer.getvalue())
