"""Candidates: the models that selection chooses from, as training and averaging list them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fclip.errors import UserError
from fclip.files import read_json, write_json

BASE_MODEL, ORIGINAL_BASE_MODEL = "base-model", "original-base-model"
"""Names of the base model that training starts from, and of the one that the champion of a warm start came from."""
TRAINED_KINDS = ("base", "checkpoint", "ema", "original-base-model")
"""What training leaves: the base model, checkpoints of the weights, exponential moving averages of the weights, and
`original-base-model`, the base model that the champion of a warm start came from. All other kinds are averages of candidates
(`interpolated`, `soup`, …); averaging methods declare them."""


@dataclass(frozen=True)
class Candidate:
    """A model that may be selected.

    Attributes:
        name: unique in its list; its folder has this name.
        step: updates done; 0 for a base model. An average has the step of its latest parent.
        epoch: passes over the training products after `step` updates.
        model_sha256: digest of its folder.
        val_loss: in-domain contrastive validation loss; None where it was not computed.
        kind: one of `TRAINED_KINDS`, or the kind of an average.
        parents: candidates that it is the average of, and the share of each; shares sum to 1. Empty for other kinds.
        distance: of its weights from the base model's, relative to the length of those; None where it is not known.
    """

    name: str
    kind: str
    step: int
    epoch: float
    model_sha256: str
    val_loss: float | None = None
    parents: Mapping[str, float] = field(default_factory=dict)
    distance: float | None = None

    def __post_init__(self) -> None:
        if (self.kind in TRAINED_KINDS) == bool(self.parents):
            raise ValueError(f"{self.name}: an average has parents, and none of {', '.join(TRAINED_KINDS)} has any")
        if self.parents and not math.isclose(sum(self.parents.values()), 1, abs_tol=1e-6):
            raise ValueError(f"{self.name}: the shares of its parents must sum to 1")

    @property
    def is_average(self) -> bool:
        """Whether its weights are an average of other candidates' weights."""
        return bool(self.parents)

    @property
    def on_path(self) -> bool:
        """Whether it is the base model or a checkpoint on the way from it."""
        return self.kind in ("base", "checkpoint")


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write a list of candidates as JSON, in its order."""
    write_json(path, [asdict(candidate) for candidate in candidates])


def read_candidates(path: Path) -> tuple[Candidate, ...]:
    """The list that `write_candidates` wrote.

    Raises:
        UserError: the file is missing or does not hold such a list.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing: run `dvc pull`, or `dvc repro {path.parent.name}`")
    try:
        found = tuple(Candidate(**entry) for entry in read_json(path))
        if [candidate.kind for candidate in found].count("base") != 1 or found[0].kind != "base":
            raise ValueError("the first candidate, and no other, must be the base model")
        if len({candidate.name for candidate in found}) < len(found):
            raise ValueError("two candidates have one name")
        return found
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path} is not a list of candidates ({error}): run the stage {path.parent.name} again"
        ) from error
