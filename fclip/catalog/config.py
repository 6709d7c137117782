"""What is ingested: the sources, how their products are split, and the role of each split."""

import math
import re
from dataclasses import field
from typing import Annotated, Literal, TypeAlias

from fclip.catalog.roles import ROLES, Roles
from fclip.catalog.sources.registry import SourceConfig, kind_of, source_kinds
from fclip.config import ByKind, config
from fclip.mirror.config import DownloadConfig

SPLITS = ("train", "val", "test")
NAME = r"[a-z0-9][a-z0-9_-]*"


Source: TypeAlias = Annotated[SourceConfig, ByKind(lambda: [each.config for each in source_kinds().values()])]


@config
class JudgementsConfig:
    """A CSV or TSV of judgements: its path, which may be remote; its columns for query, product and grade (0 to 4)."""

    path: str
    query: str
    product_id: str
    grade: str


@config
class DatasetConfig:
    """One dataset: where it comes from, the fraction of its groups in each split, what each split may be used for.

    `split` is empty for a source that comes split. A split without a role is kept and used for nothing.
    `hold_outs`: name -> attribute -> values. Products with such values in every one of the attributes are a split of
    that name, kept out of the others (FashionCLIP held out whole categories and one brand, and judged them zero-shot).
    `judgements`: queries with the products that answer them, as people graded them.
    `types`: attributes that must be a `number` or an `integer`; all others are text.
    """

    source: Source
    split: dict[str, float]
    roles: dict[str, str]
    hold_outs: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    judgements: JudgementsConfig | None = None
    types: dict[str, Literal["number", "integer"]] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there may be, those that a group is put into first before others."""
        return (*SPLITS, *self.hold_outs)

    @property
    def fixed_splits(self) -> tuple[str, ...]:
        """The splits that the source comes with; empty where its products are to be split."""
        return kind_of(self.source).fixed_splits

    @property
    def uses(self) -> Roles:
        """What the dataset is used for, by the roles of its splits."""
        return Roles(self.roles)

    def __post_init__(self) -> None:
        fixed = self.fixed_splits
        if fixed and self.split:
            raise ValueError(f"split must be {{}}: {self.source.kind} comes split into {', '.join(fixed)}")
        if not fixed:
            _check_fractions(self.split)
        _check_hold_outs(self.hold_outs)
        splits = (*(fixed or self.split), *self.hold_outs)
        for split, role in self.roles.items():
            if split not in splits:
                raise ValueError(f"roles must name splits of this dataset ({', '.join(splits)}), not `{split}`")
            if role not in ROLES:
                raise ValueError(f"roles must be among {', '.join(ROLES)}, not `{role}` (of `{split}`)")
            if role == "train" and split != "train":
                raise ValueError(f"roles must give `train` to the split train alone, not to `{split}`")


def _check_hold_outs(hold_outs: dict[str, dict[str, list[str]]]) -> None:
    for name, attributes in hold_outs.items():
        if name in SPLITS or not re.fullmatch(NAME, name):
            raise ValueError(f"hold_outs must have names of a-z, 0-9, - and _ that are no split's, not `{name}`")
        if not attributes or not all(attributes.values()):
            raise ValueError(f"hold_outs must name attributes and at least one value of each, as `{name}` does not")


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
    """How images are stored: the shorter side at most, pixels; JPEG quality of those that are encoded anew."""

    stored_side: int
    max_pixels: int
    jpeg_quality: int

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
    """When two images are the same picture: at most so many of their hashes' 64 bits differ, and such a share of ink.

    See `fclip.catalog.duplicates`.
    """

    max_hash_distance: int
    max_difference: float

    def __post_init__(self) -> None:
        if not 0 <= self.max_hash_distance <= MAX_HASH_DISTANCE:
            raise ValueError(
                f"max_hash_distance must be from 0 to {MAX_HASH_DISTANCE} bits, not {self.max_hash_distance}"
            )
        if not 0 <= self.max_difference < 1:
            raise ValueError(f"max_difference must be at least 0 and below 1, not {self.max_difference}")


@config
class RowConfig:
    """What of a source's rows may be refused before an ingest stops, and how long a cell of text may be."""

    max_refused_fraction: float
    max_text_chars: int

    def __post_init__(self) -> None:
        if not 0 <= self.max_refused_fraction <= 1:
            raise ValueError(f"max_refused_fraction must be from 0 to 1, not {self.max_refused_fraction}")
        if self.max_text_chars < 1:
            raise ValueError(f"max_text_chars must be at least 1, not {self.max_text_chars}")


@config
class IngestConfig:
    """The section `ingest` of params.yaml. `limit`: rows a dataset at most, spread over it; null: all."""

    limit: int | None
    rows: RowConfig
    image: ImageConfig
    near_duplicates: DuplicateConfig
    datasets: dict[str, DatasetConfig]
    download: DownloadConfig = field(default_factory=DownloadConfig)

    @property
    def training_datasets(self) -> tuple[str, ...]:
        """The names of the datasets that train, in the order of params.yaml."""
        return tuple(name for name, dataset in self.datasets.items() if dataset.uses.trains)

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be null or at least 1, not {self.limit}")
        if not self.datasets:
            raise ValueError("datasets must name at least one dataset")
        for name in self.datasets:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"datasets must have names of a-z, 0-9, - and _ (they name files), not `{name}`")
