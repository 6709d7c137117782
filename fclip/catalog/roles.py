"""Roles of splits, and the check that no picture has two roles.

The role of a split is `train`, `select` (the selection rule and the gate read it) or `report` (only the report reads
it).
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
    """The roles of a dataset's splits, in the order of params.yaml; splits without a role are left out."""

    by_split: Mapping[str, str]

    @property
    def trains(self) -> bool:
        """Whether a split has the role `train`, which makes the dataset in-domain."""
        return bool(self.splits_with("train"))

    @property
    def selects(self) -> bool:
        """Whether a split has the role `select`."""
        return bool(self.splits_with("select"))

    def splits_with(self, role: str) -> tuple[str, ...]:
        """Return the splits with this role."""
        return tuple(split for split, split_role in self.by_split.items() if split_role == role)


@dataclass(frozen=True)
class SplitPictures:
    """The pictures of one split, as digests, and the split's role."""

    dataset: str
    split: str
    role: str
    images: Sequence[str]


def require_one_role_per_picture(splits: Iterable[SplitPictures]) -> None:
    """Refuse a picture that has different roles in two datasets: a reported picture must not train or select.

    Within a dataset, groups keep equal pictures in one split.

    Raises:
        UserError: two splits share pictures; it names the splits, the number of pictures and one of them.
    """
    first: dict[str, SplitPictures] = {}
    shared: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for pictures in splits:
        for image in dict.fromkeys(pictures.images):
            other = first.setdefault(image, pictures)
            if other.dataset != pictures.dataset and other.role != pictures.role:
                pair = (_label(other), _label(pictures))
                shared[pair] += 1
                example.setdefault(pair, image)
    if shared:
        (one, two), number = shared.most_common(1)[0]
        raise UserError(
            f"{number} pictures are in both {one} and {two}, for example {example[one, two][:12]}; give both splits "
            "the same role, or remove the pictures from one dataset (ingest.datasets)"
        )


def _label(pictures: SplitPictures) -> str:
    return f"{pictures.dataset}/{pictures.split} (role: {pictures.role})"
