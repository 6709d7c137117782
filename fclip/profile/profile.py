"""The profile of a catalog: counts of its content. A model stores the profiles of its training catalogs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fclip.errors import UserError
from fclip.profile.histogram import Distribution

FORMAT = 1  # of a stored profile, including the edges of histograms; only profiles of the same format can be compared


@dataclass(frozen=True)
class ValueCounts:
    """The values of one attribute.

    Attributes:
        num_distinct: distinct values.
        num_missing: products without a value.
        num_other: products with a value that is not in `counts`.
        counts: products by value, for the most frequent values (`fclip.profile.measure.MAX_VALUES`).
    """

    num_distinct: int
    num_missing: int
    num_other: int
    counts: Mapping[str, int]

    def most_frequent(self, num: int) -> list[tuple[str, int]]:
        """Return the `num` most frequent (value, products), ties in the order of the values."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))[:num]


@dataclass(frozen=True)
class TextProfile:
    """One text of the products: the number of products without it, and its lengths."""

    num_missing: int
    characters: Distribution


@dataclass(frozen=True)
class CaptionProfile:
    """The captions of one kind.

    Attributes:
        num_missing: products without a caption of this kind.
        num_truncated: captions that were shortened to the model's context.
        tokens: lengths of the captions.
    """

    num_missing: int
    num_truncated: int
    tokens: Distribution


@dataclass(frozen=True)
class Profile:
    """The profile of an ingested and captioned dataset.

    Attributes:
        label: the attribute that names the classes; None if there are no classes.
        classes: products by class and split.
        context_length: context length of the base model in tokens; None if unknown.
        images: distributions over distinct images, by measure (`fclip.profile.measure.IMAGE_MEASURES`).
        group_sizes: products per group; the products of a group are near-duplicates or variants of each other.
        num_groups_across_splits: groups with products in more than one split.
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
    texts: Mapping[str, TextProfile]
    captions: Mapping[str, CaptionProfile]
    context_length: int | None
    images: Mapping[str, Distribution]
    images_per_product: Distribution
    group_sizes: Distribution
    num_groups_across_splits: int
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """Return a JSON value that `profile_from_json` reads."""
        return asdict(self)


def profile_from_json(value: Any) -> Profile:
    """Read a stored profile. Raise UserError if it has another format or is damaged."""
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        stored_format = value.get("format") if isinstance(value, dict) else None
        raise UserError(f"the stored profile has format {stored_format}, but this code reads format {FORMAT}")
    try:
        return TypeAdapter(Profile).validate_python(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UserError(f"the stored profile is damaged at {where}: {fault['msg']}") from error
