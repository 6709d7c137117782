"""The counts of a derived dataset: how many products of each split could be made, and why others could not."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fclip.errors import UserError
from fclip.files import read_json, write_json

COUNTS = "counts.json"
"""Name of the file in the folder of a derived dataset."""
MIN_PRODUCTS = 5
"""A split with fewer products is not evaluated: its score would say nothing."""


@dataclass(frozen=True)
class SplitCounts:
    """The role of one split, and the number of its products with and without a changed copy."""

    role: str
    made: int
    not_made: int


@dataclass(frozen=True)
class DerivedCounts:
    """The counts of a derived dataset.

    Attributes:
        of: the original dataset. shift: the kind of the shift.
        splits: the counts by split.
        refusal: why a copy cannot be made, in words that follow "each"; None if it always can.
    """

    of: str
    shift: str
    splits: Mapping[str, SplitCounts]
    refusal: str | None

    @property
    def made(self) -> int:
        return sum(each.made for each in self.splits.values())

    @property
    def total(self) -> int:
        return sum(each.made + each.not_made for each in self.splits.values())

    @property
    def evaluated_roles(self) -> dict[str, str]:
        """The role of each split with enough products to be evaluated."""
        return {split: each.role for split, each in self.splits.items() if each.made >= MIN_PRODUCTS}

    @property
    def summary(self) -> str:
        """How many products could be made and why others could not, in a sentence without a full stop."""
        made = f"{self.made:,} of {self.total:,} products could be made"
        return made if self.made == self.total else f"{made}; each of the others {self.refusal}"

    @property
    def problem(self) -> str | None:
        """What cannot be evaluated and why, in a sentence without a full stop; None if every split can."""
        left_out = [split for split in self.splits if split not in self.evaluated_roles]
        if not left_out:
            return None
        what = "it cannot be evaluated" if not self.evaluated_roles else f"{', '.join(left_out)} cannot be evaluated"
        return f"{what}, since a split needs {MIN_PRODUCTS} products: {self.summary}"

    def lines(self, name: str) -> Iterator[str]:
        """Yield the lines for the log."""
        yield f"{name}, made of {self.of}: {self.summary}"
        for split, each in self.splits.items():
            yield f"  {split} ({each.role}): {each.made} made, {each.not_made} not"


def write_counts(path: Path, counts: DerivedCounts) -> None:
    """Write the counts as JSON."""
    write_json(path, asdict(counts))


def read_counts(folder: Path) -> DerivedCounts:
    """Read the counts in the folder of a derived dataset. Raise UserError if they are missing."""
    path = folder / COUNTS
    if not path.is_file():
        raise UserError(f"{path} is missing; run `dvc pull` or `dvc repro derive@{folder.name}`")
    values: dict[str, Any] = read_json(path)
    splits = {split: SplitCounts(**each) for split, each in values["splits"].items()}
    return DerivedCounts(values["of"], values["shift"], splits, values["refusal"])
