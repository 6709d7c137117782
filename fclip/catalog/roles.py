"""Pictures that train, select and report are apart: none of one dataset has another role in another."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fclip.errors import UserError


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
