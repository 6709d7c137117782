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
NAME = r"[a-z0-9][a-z0-9_-]*"
"""The form of the name of a dataset or a split, after which files are named."""


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


def roles_of_copies(original: Roles | None, *, selects: bool, name: str, of: str) -> Roles:
    """Return the roles of the dataset `name`, which consists of changed copies of the dataset `of`.

    A copy keeps the role of its split. Splits that train are never copied, those that select only if `selects`.

    Args:
        original: the roles of `of`; None if there is no such dataset.

    Raises:
        UserError: there is no such dataset, or none of its splits can be copied.
    """
    if original is None:
        raise UserError(f"params.yaml: derive.datasets.{name}.of: ingest.datasets has no dataset `{of}`")
    copied = ("select", "report") if selects else ("report",)
    by_split = {split: role for split, role in original.by_split.items() if role in copied}
    if not by_split:
        raise UserError(
            f"params.yaml: derive.datasets.{name}: no split of `{of}` has the role {' or '.join(copied)}; assign it in "
            f"ingest.datasets.{of}.roles, or remove the derived dataset"
        )
    return Roles(by_split)


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
