"""The section `derive` of params.yaml: datasets that are changed copies of others."""

import re
from typing import Annotated, TypeAlias

from fclip.catalog.roles import NAME
from fclip.config import ByKind, config
from fclip.shifts.kinds.registry import ShiftConfig, shift_kinds
from fclip.shifts.kinds.scene import SceneConfig

Shift: TypeAlias = Annotated[ShiftConfig, ByKind(lambda: [each.config for each in shift_kinds().values()])]


@config
class DerivedDataset:
    """One derived dataset: changed copies of the held-out products of another dataset."""

    of: str
    """The dataset in `ingest.datasets` whose products are copied. Splits, groups and captions are those of this one."""
    shift: Shift
    """How the pictures are changed."""
    selects: bool = False
    """Whether the copies of `select` splits are made too, so that the selection rule and the gate read them."""

    def __post_init__(self) -> None:
        if self.selects and isinstance(self.shift, SceneConfig) and self.shift.ground == "white":
            raise ValueError("selects must be false for a scene on white ground: it is a control, which audits read")


@config
class DeriveConfig:
    """The section `derive`: changed copies of a dataset's held-out products, to measure a model elsewhere."""

    datasets: dict[str, DerivedDataset]
    """The derived datasets by name; {}: none. A name consists of a-z, 0-9, - and _."""

    def __post_init__(self) -> None:
        for name in self.datasets:
            if not re.fullmatch(NAME, name):
                raise ValueError(
                    f"datasets must have names of a-z, 0-9, - and _ (files are named after them), not `{name}`"
                )
