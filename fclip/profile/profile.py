"""The profile of a catalog: what it holds, in counts. Stored with a model, it says what the model was trained on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fclip.errors import UserError
from fclip.profile.histogram import Distribution

FORMAT = 1  # of a stored profile, edges of histograms included; only profiles of one format compare


@dataclass(frozen=True)
class ValueCounts:
    """The values of one attribute.

    counts: products by value, of the most frequent values (`fclip.profile.measure.MAX_VALUES`). num_other: products
    with a value that is not among them. num_missing: products without any.
    """

    num_distinct: int
    num_missing: int
    num_other: int
    counts: Mapping[str, int]

    def most_frequent(self, num: int) -> list[tuple[str, int]]:
        """(value, products), the most frequent first, by value where even."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:num]


@dataclass(frozen=True)
class Text:
    """One text of the products: how many lack it, and its lengths."""

    num_missing: int
    characters: Distribution


@dataclass(frozen=True)
class Captions:
    """The captions of one kind. num_missing: products without one. num_truncated: longer than the start reads."""

    num_missing: int
    num_truncated: int
    tokens: Distribution


@dataclass(frozen=True)
class Profile:
    """A dataset as ingested and captioned.

    label: the attribute that names the classes, None where there
    are none; classes: class -> split -> products. images: measures of distinct images, by name
    (`fclip.profile.measure.IMAGE_MEASURES`). group_sizes: products a group, products of a group being near-duplicates
    or variants of each other. context_length: tokens that the start reads, None where that is not known.
    """

    dataset: str
    num_rows: int
    num_products: int
    num_images: int
    num_refused: int
    refused_by_reason: Mapping[str, int]
    repaired: Mapping[str, int]
    splits: Mapping[str, int]
    label: str | None
    classes: Mapping[str, Mapping[str, int]]
    attributes: Mapping[str, ValueCounts]
    texts: Mapping[str, Text]
    captions: Mapping[str, Captions]
    context_length: int | None
    images: Mapping[str, Distribution]
    images_per_product: Distribution
    group_sizes: Distribution
    num_groups_across_splits: int
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """A value that `from_json` reads."""
        return asdict(self)


def from_json(value: Any) -> Profile:
    """A stored profile; raises UserError when it is of another format, or none."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else None
        raise UserError(f"the stored profile has format {found}, and this code reads format {FORMAT}")
    try:
        return TypeAdapter(Profile).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UserError(f"the stored profile is damaged at {where}: {fault['msg']}") from error
