"""Roles: what a split of a dataset is used for, and that no picture has two of them.

A split may train, select (the selection rule and the gate read it) or report (only the report reads it).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fclip.errors import UserError

Role: TypeAlias = Literal["train", "select", "report"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Roles:
    """The roles of a dataset's splits, in the order of params.yaml; a split without a role is not in it."""

    by_split: Mapping[str, str]

    @property
    def trains(self) -> bool:
        """Whether a split has the role `train`: the dataset is in domain."""
        return bool(self.splits_with("train"))

    @property
    def selects(self) -> bool:
        """Whether a split has the role `select`."""
        return bool(self.splits_with("select"))

    def splits_with(self, role: str) -> tuple[str, ...]:
        """The splits that have this role."""
        return tuple(split for split, own in self.by_split.items() if own == role)


@dataclass(frozen=True)
class Pictures:
    """The pictures of a dataset's split, by their digests, and its role."""

    dataset: str
    split: str
    role: str
    images: Sequence[str]


def require_apart(splits: Iterable[Pictures]) -> None:
    """Refuse the same picture in two datasets under two roles: what reports would have trained or selected.

    (Within a dataset, groups keep equal pictures in one split.)

    Raises:
        UserError: some are; it names the splits, how many they share, and one of them.
    """
    first: dict[str, Pictures] = {}
    shared: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for pictures in splits:
        for image in dict.fromkeys(pictures.images):
            other = first.setdefault(image, pictures)
            if other.dataset != pictures.dataset and other.role != pictures.role:
                pair = (_said(other), _said(pictures))
                shared[pair] += 1
                example.setdefault(pair, image)
    if shared:
        (one, two), number = shared.most_common(1)[0]
        raise UserError(
            f"{number} pictures are in {one} and in {two}, {example[one, two][:12]} for one: give both splits one "
            "role, or take the pictures out of one dataset (ingest.datasets)"
        )


def _said(pictures: Pictures) -> str:
    return f"{pictures.dataset}/{pictures.split} (role: {pictures.role})"
