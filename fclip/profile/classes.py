"""How even the classes are, in each split: reported, not enforced."""

from collections.abc import Mapping
from dataclasses import dataclass

from fclip.profile.profile import Profile


@dataclass(frozen=True)
class ClassCount:
    """A class and its products, by split."""

    name: str
    num: int
    splits: Mapping[str, int]


@dataclass(frozen=True)
class ClassBalance:
    """The classes of `label`, the largest first.

    never_trained: classes of val or test without a product in train, where there is a train split; the same the
    other way round is never_graded. num_missing: products without a class.
    """

    label: str
    classes: tuple[ClassCount, ...]
    num_missing: int
    never_trained: tuple[str, ...]
    never_graded: tuple[str, ...]


def class_balance(profile: Profile) -> ClassBalance | None:
    """None where no attribute names classes, or no product has that attribute."""
    if profile.label is None or not profile.classes:
        return None
    classes = sorted(
        (ClassCount(name, sum(splits.values()), splits) for name, splits in profile.classes.items()),
        key=lambda each: (-each.num, each.name),
    )
    judged = [split for split in ("val", "test") if split in profile.splits]
    trained = "train" in profile.splits and judged
    return ClassBalance(
        label=profile.label,
        classes=tuple(classes),
        num_missing=profile.num_products - sum(each.num for each in classes),
        never_trained=tuple(
            each.name for each in classes if trained and "train" not in each.splits and each.splits.keys() & set(judged)
        ),
        never_graded=tuple(
            each.name for each in classes if trained and "train" in each.splits and not each.splits.keys() & set(judged)
        ),
    )
