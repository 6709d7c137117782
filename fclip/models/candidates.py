"""Candidates: the models that selection chooses from. Training and averaging write lists of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fclip.errors import UserError
from fclip.files import read_json, write_json

BASE_MODEL, ORIGINAL_BASE_MODEL = "base-model", "original-base-model"
"""Names of the base model, and of the base model that the champion of a warm start was first trained from."""
TRAINED_KINDS = ("base", "checkpoint", "ema", "original-base-model")
"""Kinds of candidates that training writes: the base model, checkpoints, exponential moving averages of the weights,
and the original base model of a warm start. All other kinds (`interpolated`, `soup`, …) are averages of candidates and
are declared by averaging methods."""

IN_DOMAIN_TOLERANCES = (0.005, 0.01, 0.015, 0.02, 0.03)
"""In-domain losses at which averages are made, and for which selection says what it would select."""


@dataclass(frozen=True)
class Candidate:
    """A model that may be selected.

    Attributes:
        name: unique in the list of candidates; also the name of its folder.
        kind: one of `TRAINED_KINDS`, or the kind of an average.
        step: number of training steps; 0 for a base model. An average has the step of its latest parent.
        epoch: number of passes over the training products after `step` steps.
        model_sha256: digest of its folder.
        val_loss: in-domain contrastive validation loss; None if it was not computed.
        parents: the averaged candidates and the share of each; shares sum to 1. Empty if it is not an average.
        text_parents: the same for the text tower, if the image tower alone has the shares of `parents`; else empty.
        distance: relative distance of its weights from the base model (`fclip.models.weights.distances`); None if
            unknown.
    """

    name: str
    kind: str
    step: int
    epoch: float
    model_sha256: str
    val_loss: float | None = None
    parents: Mapping[str, float] = field(default_factory=dict)
    distance: float | None = None
    text_parents: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.kind in TRAINED_KINDS) == bool(self.parents):
            raise ValueError(f"{self.name}: averages must have parents, and {', '.join(TRAINED_KINDS)} must have none")
        for parents in (self.parents, self.text_parents):
            if parents and not math.isclose(sum(parents.values()), 1, abs_tol=1e-6):
                raise ValueError(f"{self.name}: the shares of its parents must sum to 1")

    @property
    def is_average(self) -> bool:
        """Whether its weights are an average of other candidates' weights."""
        return bool(self.parents)

    @property
    def ancestors(self) -> frozenset[str]:
        """The names of the candidates that are averaged, in either tower."""
        return frozenset({*self.parents, *self.text_parents})

    @property
    def is_on_training_path(self) -> bool:
        """Whether it is the base model or a checkpoint, i.e. a point on the path of the optimiser."""
        return self.kind in ("base", "checkpoint")


def write_candidates(path: Path, candidates: Sequence[Candidate]) -> None:
    """Write a list of candidates as JSON."""
    write_json(path, [asdict(candidate) for candidate in candidates])


def read_candidates(path: Path) -> tuple[Candidate, ...]:
    """Return the list that `write_candidates` wrote.

    Raises:
        UserError: the file is missing or is not a valid list of candidates.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc pull` or `dvc repro {path.parent.name}`")
    try:
        candidates = tuple(Candidate(**entry) for entry in read_json(path))
        if [candidate.kind for candidate in candidates].count("base") != 1 or candidates[0].kind != "base":
            raise ValueError("the first candidate, and no other, must be the base model")
        if len({candidate.name for candidate in candidates}) < len(candidates):
            raise ValueError("two candidates have the same name")
        return candidates
    except (TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not a valid list of candidates ({error}); run the stage {path.parent.name} again"
        ) from error
