"""What is tuned, for how long, and how."""

from dataclasses import asdict
from typing import Any, Literal

from fclip.config import config
from fclip.errors import UserError
from fclip.models.config import LocalStart, OpenClipStart, StartConfig, TowersStart

CAPTION_KINDS = ("title", "highlights", "attributes", "short")
START_KINDS: dict[str, type[TowersStart] | type[OpenClipStart] | type[LocalStart]] = {
    "towers": TowersStart,
    "open_clip": OpenClipStart,
    "local": LocalStart,
}


@config
class AugmentConfig:
    """How a training image is varied: the least share of its area that a crop keeps; whether it is mirrored."""

    min_crop_area: float
    flip: bool

    def __post_init__(self) -> None:
        if not 0 < self.min_crop_area <= 1:
            raise ValueError("min_crop_area must be above 0, and 1 at most")


@config
class FinetuneConfig:
    """The section `finetune` of params.yaml.

    Attributes:
        device: "auto" (cuda where there is one, else the CPU), "cpu", "cuda" or "cuda:1".
        trainable: "heads" (both projections and the logit scale), "image_tower" (these and the image tower), "all".
        epochs: passes over the training products.
        learning_rate: at its highest, after the warm-up.
        warmup_fraction: of all steps.
        clip_grad_norm: longest gradient that is applied as it is.
        num_candidates: evenly spaced checkpoints that selection may choose from; the start is one more.
        checkpoint_every: steps between what an interrupted run goes on from.
        captions: how often each kind of caption is drawn, relative to the other kinds that a product has.
    """

    start: StartConfig
    device: str
    trainable: Literal["heads", "image_tower", "all"]
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_fraction: float
    weight_decay: float
    betas: tuple[float, float]
    clip_grad_norm: float
    max_logit_scale: float
    num_candidates: int
    checkpoint_every: int
    captions: dict[str, float]
    augment: AugmentConfig

    def __post_init__(self) -> None:
        if self.trainable not in ("heads", "image_tower", "all"):
            raise ValueError("trainable must be heads, image_tower or all")
        for name in ("epochs", "num_candidates", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: a pair is told from the others of its batch")
        for name in ("learning_rate", "clip_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be above 0")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError("warmup_fraction must be from 0 to below 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError("weight_decay must be 0 or more")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be two numbers from 0 to below 1")
        if not 1 <= self.max_logit_scale <= 1000:
            raise ValueError("max_logit_scale must be from 1 to 1000")
        if unknown := sorted(set(self.captions) - set(CAPTION_KINDS)):
            raise ValueError(f"captions must be of the kinds {', '.join(CAPTION_KINDS)}, not {', '.join(unknown)}")
        if not all(0 <= weight < float("inf") for weight in self.captions.values()):
            raise ValueError("captions must have weights of 0 or more")
        if not any(self.captions.values()):
            raise ValueError("captions must give at least one kind a weight above 0")


def to_json(config: FinetuneConfig) -> dict[str, Any]:
    """The config as plain JSON values."""
    return {**asdict(config), "betas": list(config.betas)}


def from_json(values: dict[str, Any]) -> FinetuneConfig:
    """The config that `to_json` wrote; raises UserError for anything else."""
    try:
        start = dict(values["start"])
        return FinetuneConfig(
            **{
                **values,
                "start": START_KINDS[start["kind"]](**start),
                "betas": tuple(values["betas"]),
                "augment": AugmentConfig(**values["augment"]),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"this is no finetune config: {error}") from error
