"""Class balance by split. It is reported, not enforced."""

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

    Attributes:
        num_missing: products without a class.
        missing_from_train: classes of val or test without a product in train; empty if there is no train split.
        missing_from_evaluation: classes of train without a product in val or test; empty if there are no such splits.
    """

    label: str
    classes: tuple[ClassCount, ...]
    num_missing: int
    missing_from_train: tuple[str, ...]
    missing_from_evaluation: tuple[str, ...]


def class_balance(profile: Profile) -> ClassBalance | None:
    """Return the class balance; None if no attribute names the classes or no product has it."""
    if profile.label is None or not profile.classes:
        return None
    classes = sorted(
        (ClassCount(name, sum(splits.values()), splits) for name, splits in profile.classes.items()),
        key=lambda each: (-each.num, each.name),
    )
    evaluated = [split for split in ("val", "test") if split in profile.splits]
    has_both = "train" in profile.splits and evaluated
    return ClassBalance(
        label=profile.label,
        classes=tuple(classes),
        num_missing=profile.num_products - sum(each.num for each in classes),
        missing_from_train=tuple(
            each.name
            for each in classes
            if has_both and "train" not in each.splits and each.splits.keys() & set(evaluated)
        ),
        missing_from_evaluation=tuple(
            each.name
            for each in classes
            if has_both and "train" in each.splits and not each.splits.keys() & set(evaluated)
        ),
    )
