"""What is tuned, towards what, for how long, and how."""

from dataclasses import asdict
from typing import Any, Literal

from fclip.base_models.registry import AnyBaseModelConfig, ChampionConfig, base_model_from_json
from fclip.config import config
from fclip.errors import UserError

CAPTION_KINDS = ("title", "highlights", "attributes", "short")
INFINITY = float("inf")


@config
class AugmentConfig:
    """How a training image is varied.

    Attributes:
        min_crop_area: least share of its area that a crop keeps.
        flip: whether half of the images are mirrored.
        colour_jitter: brightness, contrast and saturation change by a factor of 1 ± this at most; 0 leaves them.
        greyscale: share of the images that lose their colours.
        background: share of the images on white whose ground is replaced by another.
        thumbnail: share of the images that become what small grey catalogs hold: the product alone, 28 pixels a side,
            grey, mostly light on dark.
        invert: share of the images whose light and dark change places.
    """

    min_crop_area: float
    flip: bool
    colour_jitter: float
    greyscale: float
    background: float
    thumbnail: float
    invert: float

    def __post_init__(self) -> None:
        if not 0 < self.min_crop_area <= 1:
            raise ValueError("min_crop_area must be above 0, and 1 at most")
        if not 0 <= self.colour_jitter < 1:
            raise ValueError("colour_jitter must be from 0 to below 1")
        for name in ("greyscale", "background", "thumbnail", "invert"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1")


@config
class ObjectiveConfig:
    """What the towers learn to agree on.

    Attributes:
        loss: "clip" (InfoNCE: Radford et al. 2021) or "siglip" (a sigmoid a pair: Zhai et al. 2023).
        positives: "shared" (products whose caption is the same, and rows of one product, are each other's positives)
            or "pairs" (only a row's own pair is, as open_clip has it).
        fields: null, or weights of caption kinds: then a product's text is the weighted mean of the embeddings of all
            these kinds (GCL: Zhu et al. 2024) instead of one caption drawn by `captions`.
        hard_negatives: share of each batch that is of one category, so that it is told apart by more than that.
        micro_batch_size: rows that go through the towers at once (GradCache: Gao et al. 2021); null: the whole batch.
            The loss is of the whole batch either way, and so is the gradient, but for dropout's draws.
    """

    loss: Literal["clip", "siglip"]
    positives: Literal["shared", "pairs"]
    fields: dict[str, float] | None
    hard_negatives: float
    micro_batch_size: int | None

    def __post_init__(self) -> None:
        if self.loss not in ("clip", "siglip"):
            raise ValueError("loss must be clip or siglip")
        if self.positives not in ("shared", "pairs"):
            raise ValueError("positives must be shared or pairs")
        if self.fields is not None:
            _check_weights("fields", self.fields)
        if not 0 <= self.hard_negatives <= 1:
            raise ValueError("hard_negatives must be a share from 0 to 1")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ValueError("micro_batch_size must be at least 1, or null")


@config
class HeadsFirstConfig:
    """LP-FT (Kumar et al. 2022): the projections alone, on features computed once, before the rest is let loose."""

    epochs: int
    learning_rate: float

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError("epochs must be at least 1: leave heads_first null for none")
        if not 0 < self.learning_rate < INFINITY:
            raise ValueError("learning_rate must be above 0")


@config
class ReplayConfig:
    """Rehearsal (Rolnick et al. 2019): of what the champion was trained on, each pass repeats a part.

    Attributes:
        share: of a pass, the products that the champion has seen just so; the others are all that are new or changed.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError("share must be from 0 to below 1")


@config
class RegularizationConfig:
    """What holds the model near its base model; 0 lets it go.

    Attributes:
        weights: each update takes this share, times its learning rate, of the way back (L2-SP: Li et al. 2018,
            decoupled as AdamW's weight decay is).
        similarities: weight of the divergence of the batch's similarities from the base model's, beside the objective
            (distillation; ZSCL: Zheng et al. 2023).
    """

    weights: float
    similarities: float

    def __post_init__(self) -> None:
        for name in ("weights", "similarities"):
            if not 0 <= getattr(self, name) < INFINITY:
                raise ValueError(f"{name} must be 0 or more")


@config
class FinetuneConfig:
    """The section `finetune` of params.yaml.

    Attributes:
        start: what is tuned.
        replay: with a warm start, all that is new and a part of what is not; null: all products alike.
        device: "auto" (cuda where there is one, else the CPU), "cpu", "cuda" or "cuda:1".
        processes: how many train together, one a GPU: "auto" (as many as there are GPUs) or a number.
        precision: "auto" (bf16 where it pays: `fclip.training.compute`), "bf16" or "fp32".
        compile: whether torch.compile makes the towers' kernels; "auto": where it pays (`fclip.training.compute`).
        gradient_checkpointing: compute activations twice rather than keep them.
        trainable: "heads" (both projections and the logit scale), "image_tower" or "text_tower" (these and that
            tower: the latter is LiT, Zhai et al. 2022), "image_only" (the image tower and its projection: texts stay
            where the base model has them, those that training never shows too), "all".
        last_layers: of each tuned tower, only so many of its last blocks; null: all.
        layer_decay: the learning rate of a block is this times that of the block after it.
        lora_rank: low-rank updates of the tuned matrices (Hu et al. 2022) instead of these themselves; null: none.
        ema_decay: beside each checkpoint, the moving average of the weights is a candidate, with this decay; null:
            none is.
        epochs: passes over the training products.
        batch_size: pairs whose loss is one, over all processes together.
        learning_rate: at its highest, after the warm-up.
        warmup_fraction: of all steps.
        clip_grad_norm: longest gradient that is applied as it is.
        max_skipped_steps: updates left out, since their loss or gradient was not finite, after which the run stops.
        num_candidates: checkpoints, dense early, that selection may choose from; the base model is one more.
        checkpoint_every: steps between what an interrupted run goes on from.
        pixel_cache_gb: pixels are decoded once, into a file, where that is no larger; else for every batch.
        captions: how often each kind of caption is drawn, relative to the other kinds that a product has.
    """

    base_model: AnyBaseModelConfig
    replay: ReplayConfig | None
    device: str
    processes: int | Literal["auto"]
    precision: Literal["auto", "bf16", "fp32"]
    compile: bool | Literal["auto"]
    gradient_checkpointing: bool
    trainable: Literal["heads", "image_only", "image_tower", "text_tower", "all"]
    last_layers: int | None
    layer_decay: float
    lora_rank: int | None
    ema_decay: float | None
    heads_first: HeadsFirstConfig | None
    regularization: RegularizationConfig
    objective: ObjectiveConfig
    epochs: int
    batch_size: int
    learning_rate: float
    warmup_fraction: float
    weight_decay: float
    betas: tuple[float, float]
    clip_grad_norm: float
    max_logit_scale: float
    max_skipped_steps: int
    num_candidates: int
    checkpoint_every: int
    pixel_cache_gb: float
    captions: dict[str, float]
    augment: AugmentConfig

    def __post_init__(self) -> None:
        if self.replay and not isinstance(self.base_model, ChampionConfig):
            raise ValueError("replay must be null unless base_model is of the kind champion")
        if self.trainable not in ("heads", "image_only", "image_tower", "text_tower", "all"):
            raise ValueError("trainable must be heads, image_only, image_tower, text_tower or all")
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ValueError("precision must be auto, bf16 or fp32")
        if self.processes != "auto" and self.processes < 1:
            raise ValueError("processes must be auto or at least 1")
        for name in ("last_layers", "lora_rank"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, or null")
        if not 0 < self.layer_decay <= 1:
            raise ValueError("layer_decay must be above 0, and 1 at most")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError("ema_decay must be between 0 and 1, or null")
        for name in ("epochs", "num_candidates", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: a pair is told from the others of its batch")
        for name in ("learning_rate", "clip_grad_norm"):
            if not 0 < getattr(self, name) < INFINITY:
                raise ValueError(f"{name} must be above 0")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError("warmup_fraction must be from 0 to below 1")
        for name in ("weight_decay", "max_skipped_steps", "pixel_cache_gb"):
            if not 0 <= getattr(self, name) < INFINITY:
                raise ValueError(f"{name} must be 0 or more")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must be two numbers from 0 to below 1")
        if not 1 <= self.max_logit_scale <= 1000:
            raise ValueError("max_logit_scale must be from 1 to 1000")
        _check_weights("captions", self.captions)
        if self.trainable == "heads" and (self.last_layers or self.lora_rank or self.heads_first):
            raise ValueError("last_layers, lora_rank and heads_first must be null where trainable is heads")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of captions that are trained on."""
        weights = self.objective.fields or self.captions
        return frozenset(kind for kind, weight in weights.items() if weight > 0)


def _check_weights(name: str, weights: dict[str, float]) -> None:
    if unknown := sorted(set(weights) - set(CAPTION_KINDS)):
        raise ValueError(f"{name} must be of the kinds {', '.join(CAPTION_KINDS)}, not {', '.join(unknown)}")
    if not all(0 <= weight < INFINITY for weight in weights.values()):
        raise ValueError(f"{name} must have weights of 0 or more")
    if not any(weights.values()):
        raise ValueError(f"{name} must give at least one kind a weight above 0")


def to_json(config: FinetuneConfig) -> dict[str, Any]:
    """The config as plain JSON values."""
    return {**asdict(config), "betas": list(config.betas)}


def from_json(values: dict[str, Any]) -> FinetuneConfig:
    """The config that `to_json` wrote; raises UserError for anything else."""
    try:
        first, replay = values["heads_first"], values["replay"]
        return FinetuneConfig(
            **{
                **values,
                "base_model": base_model_from_json(values["base_model"]),
                "replay": None if replay is None else ReplayConfig(**replay),
                "betas": tuple(values["betas"]),
                "augment": AugmentConfig(**values["augment"]),
                "objective": ObjectiveConfig(**values["objective"]),
                "regularization": RegularizationConfig(**values["regularization"]),
                "heads_first": None if first is None else HeadsFirstConfig(**first),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"this is no finetune config: {error}") from error
