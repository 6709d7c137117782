"""The configuration of ingest: the sources, how their products are split, and the role of each split."""

import math
import re
from dataclasses import field
from typing import Annotated, Literal, TypeAlias

from fclip.catalog.roles import NAME, ROLES, Roles
from fclip.catalog.sources.registry import SourceConfig, kind_of, source_kinds
from fclip.config import ByKind, config
from fclip.mirror.config import DownloadConfig

SPLITS = ("train", "val", "test")
FRACTIONS = {"train": 0.7, "val": 0.15, "test": 0.15}
"""The fraction of each split unless a dataset sets others."""


Source: TypeAlias = Annotated[SourceConfig, ByKind(lambda: [each.config for each in source_kinds().values()])]


@config
class JudgementsConfig:
    """Relevance judgements: a CSV or TSV file with one row for each graded pair of a query and a product."""

    path: str
    """The file: a path relative to the workspace, or a remote address."""
    query: str = "query"
    """Column of the query text."""
    product_id: str = "product_id"
    """Column of the product's id."""
    grade: str = "grade"
    """Column of the grade, a number from 0 (irrelevant) to 4."""


@config
class DatasetConfig:
    """One dataset: its source, how its products are split, and the role of each split."""

    source: Source
    """Where the products come from."""
    split: dict[str, float] | None = None
    """Fraction of the product groups in each of the splits train, val and test; the fractions sum to 1. null: the
    splits that the source comes with, otherwise train 0.7, val 0.15, test 0.15."""
    roles: dict[str, str]
    """Role of each split: `train` (only of the split train), `select` (read by the selection rule and the gate) or
    `report` (read by the report only). A split without a role is kept and not used."""
    hold_outs: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """More splits, by name: attribute -> values. Products with one of these values in every attribute form this split
    and are in no other, as in {denim: {category: [Denim]}}. Give the split a role too."""
    judgements: JudgementsConfig | None = None
    """Queries with products that people graded, for the protocol graded-retrieval."""
    types: dict[str, Literal["number", "integer"]] = field(default_factory=dict)
    """Attributes that must be a `number` or an `integer`; other values are refused. All other attributes are text."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The possible splits, in the order in which a group is put into one of them."""
        return (*SPLITS, *self.hold_outs)

    @property
    def fixed_splits(self) -> tuple[str, ...]:
        """The splits that the source comes with; empty if ingest splits its products."""
        return kind_of(self.source).fixed_splits

    @property
    def fractions(self) -> dict[str, float]:
        """The fraction of the product groups in each split; empty for a source that comes split."""
        if self.split is None:
            return {} if self.fixed_splits else FRACTIONS
        return self.split

    @property
    def uses(self) -> Roles:
        """What the dataset is used for, by the roles of its splits."""
        return Roles(self.roles)

    def __post_init__(self) -> None:
        fixed = self.fixed_splits
        if fixed and self.split:
            raise ValueError(f"split must be null: {self.source.kind} comes split into {', '.join(fixed)}")
        if not fixed:
            _check_fractions(self.fractions)
        _check_hold_outs(self.hold_outs)
        splits = (*(fixed or self.fractions), *self.hold_outs)
        for split, role in self.roles.items():
            if split not in splits:
                raise ValueError(f"roles must name splits of this dataset ({', '.join(splits)}), not `{split}`")
            if role not in ROLES:
                raise ValueError(f"roles must be among {', '.join(ROLES)}, not `{role}` (of `{split}`)")
            if role == "train" and split != "train":
                raise ValueError(f"roles must give the role `train` only to the split train, not to `{split}`")


def _check_hold_outs(hold_outs: dict[str, dict[str, list[str]]]) -> None:
    for name, attributes in hold_outs.items():
        if name in SPLITS or not re.fullmatch(NAME, name):
            raise ValueError(
                f"hold_outs must have names of a-z, 0-9, - and _ other than {', '.join(SPLITS)}, not `{name}`"
            )
        if not attributes or not all(attributes.values()):
            raise ValueError(f"hold_outs must name at least one attribute and one value of each; `{name}` does not")


def _check_fractions(split: dict[str, float]) -> None:
    for name, fraction in split.items():
        if name not in SPLITS:
            raise ValueError(f"split must have keys among {', '.join(SPLITS)}, not `{name}`")
        if not 0 < fraction <= 1:
            raise ValueError(f"split must have fractions above 0 and at most 1, not {fraction} (of `{name}`)")
    if not math.isclose(sum(split.values()), 1, abs_tol=1e-6):
        parts = ", ".join(f"{name} {fraction}" for name, fraction in split.items()) or "nothing"
        raise ValueError(f"split must have fractions that sum to 1, not {sum(split.values()):.6g} ({parts})")


@config
class ImageConfig:
    """How images are stored."""

    stored_side: int = 224
    """Largest shorter side of a stored image, in pixels, from 16 to 4096; larger images are scaled down."""
    max_pixels: int = 50_000_000
    """Images with more pixels are refused, as a protection from decompression bombs."""
    jpeg_quality: int = 92
    """JPEG quality, from 1 to 100, of images that are encoded again."""

    def __post_init__(self) -> None:
        if not 16 <= self.stored_side <= 4096:
            raise ValueError(f"stored_side must be from 16 to 4096 pixels, not {self.stored_side}")
        if self.max_pixels < self.stored_side**2:
            raise ValueError(f"max_pixels must be at least stored_side squared, not {self.max_pixels}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"jpeg_quality must be from 1 to 100, not {self.jpeg_quality}")


MAX_HASH_DISTANCE = 7


@config
class DuplicateConfig:
    """When two images count as near-duplicates: both limits hold. Their products are put into the same split.

    See `fclip.catalog.duplicates`.
    """

    max_hash_distance: int = 6
    """Largest number of different bits between the 64-bit hashes of two images, from 0 to 7."""
    max_difference: float = 0.06
    """Largest difference between the contents of two images, as a share from 0 to below 1. 0.08 also joins more colour
    variants of one product."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_hash_distance <= MAX_HASH_DISTANCE:
            raise ValueError(
                f"max_hash_distance must be from 0 to {MAX_HASH_DISTANCE} bits, not {self.max_hash_distance}"
            )
        if not 0 <= self.max_difference < 1:
            raise ValueError(f"max_difference must be at least 0 and below 1, not {self.max_difference}")


@config
class RowConfig:
    """Limits for the rows of a source."""

    max_refused_fraction: float = 0.1
    """Largest fraction of bad rows, from 0 to 1; with more the ingest stops."""
    max_text_chars: int = 20_000
    """A row with a longer text, in characters, is refused."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_refused_fraction <= 1:
            raise ValueError(f"max_refused_fraction must be from 0 to 1, not {self.max_refused_fraction}")
        if self.max_text_chars < 1:
            raise ValueError(f"max_text_chars must be at least 1, not {self.max_text_chars}")


@config
class IngestSettings:
    """How every dataset is ingested."""

    limit: int | None = None
    """Largest number of rows of each dataset, sampled evenly over it; null: all rows."""
    rows: RowConfig = RowConfig()
    """Limits for the rows of a source."""
    image: ImageConfig = ImageConfig()
    """How images are stored."""
    near_duplicates: DuplicateConfig = DuplicateConfig()
    """When two images count as near-duplicates."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be null or at least 1, not {self.limit}")


@config
class IngestConfig:
    """The section `ingest`: the datasets, and how they are read, checked and stored."""

    settings: IngestSettings
    """How every dataset is ingested."""
    datasets: dict[str, DatasetConfig]
    """The datasets by name. A name consists of a-z, 0-9, - and _."""
    download: DownloadConfig = DownloadConfig()
    """How remote files and images are downloaded."""

    @property
    def training_datasets(self) -> tuple[str, ...]:
        """The names of the datasets that train, in the order of params.yaml."""
        return tuple(name for name, dataset in self.datasets.items() if dataset.uses.trains)

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError("datasets must name at least one dataset")
        for name in self.datasets:
            if not re.fullmatch(NAME, name):
                raise ValueError(
                    f"datasets must have names of a-z, 0-9, - and _ (files are named after them), not `{name}`"
                )
