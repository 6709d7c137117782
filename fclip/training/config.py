"""The configuration of training: the section `finetune` of params.yaml."""

from dataclasses import asdict, field
from typing import Any, Literal

from fclip.base_models.registry import AnyBaseModelConfig, ChampionConfig, base_model_from_json
from fclip.config import config
from fclip.errors import UserError

CAPTION_KINDS = ("title", "highlights", "attributes", "short")
INFINITY = float("inf")


@config
class AugmentConfig:
    """How a training image is varied."""

    min_crop_area: float = 0.6
    """Smallest share of the image's area that a random crop keeps, above 0 and at most 1."""
    flip: bool = True
    """Mirror half of the images."""
    colour_jitter: float = 0.0
    """Brightness, contrast and saturation change by a factor of 1 ± this at most, from 0 to below 1."""
    greyscale: float = 0.0
    """Share of the images that lose their colours."""
    background: float = 0.0
    """Share of the images with a white background that get another background, so that the model does not learn it."""
    thumbnail: float = 0.0
    """Share of the images that become small grey thumbnails: the product alone, 28 pixels a side, mostly light on
    dark."""
    invert: float = 0.0
    """Share of the images whose colours are inverted: light becomes dark."""

    def __post_init__(self) -> None:
        if not 0 < self.min_crop_area <= 1:
            raise ValueError("min_crop_area must be above 0 and at most 1")
        if not 0 <= self.colour_jitter < 1:
            raise ValueError("colour_jitter must be from 0 to below 1")
        for name in ("greyscale", "background", "thumbnail", "invert"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be a share from 0 to 1")


@config
class ObjectiveConfig:
    """The contrastive training objective."""

    loss: Literal["clip", "siglip"] = "clip"
    """The loss function. `clip`: InfoNCE (Radford et al. 2021). `siglip`: a sigmoid for each pair (Zhai et al.
    2023)."""
    positives: Literal["shared", "pairs"] = "shared"
    """What counts as a positive pair. `shared`: products with the same caption, and rows of one product, are positives
    of each other. `pairs`: only the pair of a row is positive, as in open_clip."""
    fields: dict[str, float] | None = None
    """Weights of caption kinds to train on together. With {title: 0.5, short: 0.5} the text of a product is the
    weighted mean of the embeddings of these kinds (GCL: Zhu et al. 2024). null: one caption, sampled by `captions`."""
    captions_per_image: int = 1
    """Captions of each product in a batch, of different kinds if the product has as many. The loss is the mean of the
    losses with each of them. An image goes through its tower once, so that more captions cost little with a frozen
    text tower."""
    hard_negatives: float = 0.0
    """Share of each batch that is of one category, from 0 to 1, so that the model separates products within it."""
    micro_batch_size: int | None = None
    """Rows that go through the towers at once, to save memory (GradCache: Gao et al. 2021); null: the whole batch. Loss
    and gradient are those of the whole batch, except for the random numbers of dropout."""

    def __post_init__(self) -> None:
        if self.loss not in ("clip", "siglip"):
            raise ValueError("loss must be clip or siglip")
        if self.positives not in ("shared", "pairs"):
            raise ValueError("positives must be shared or pairs")
        if self.fields is not None:
            _check_weights("fields", self.fields)
        if self.captions_per_image < 1:
            raise ValueError("captions_per_image must be at least 1")
        if self.captions_per_image > 1 and self.fields is not None:
            raise ValueError("captions_per_image must be 1 with fields, which have one caption of each kind")
        if not 0 <= self.hard_negatives <= 1:
            raise ValueError("hard_negatives must be a share from 0 to 1")
        if self.micro_batch_size is not None and self.micro_batch_size < 1:
            raise ValueError("micro_batch_size must be at least 1, or null")


@config
class HeadsFirstConfig:
    """LP-FT (Kumar et al. 2022): train the projections alone, on features computed once, before everything else."""

    epochs: int = 3
    """Passes over the training products with the projections alone."""
    learning_rate: float = 1e-3
    """Highest learning rate of these passes."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError("epochs must be at least 1; set heads_first to null for none")
        if not 0 < self.learning_rate < INFINITY:
            raise ValueError("learning_rate must be above 0")


@config
class ReplayConfig:
    """Rehearsal (Rolnick et al. 2019): each pass repeats some of the products that the champion was trained on."""

    share: float = 0.3
    """Share of a pass, from 0 to below 1, that the champion has already seen unchanged. All new and changed products
    are in every pass."""

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError("share must be from 0 to below 1")


@config
class DistillationConfig:
    """Learn the image embeddings of another model, the teacher, besides the captions (`fclip distil`)."""

    teacher: str
    """Parquet file with the columns `id` and `embedding`, relative to the workspace, as `fclip embed` writes."""
    sha256: str
    """SHA-256 of the file, so that another file trains another model."""
    weight: float = 1.0
    """Weight of the mean of 1 − cosine to the teacher's embeddings, added to the loss; above 0."""

    def __post_init__(self) -> None:
        if not 0 < self.weight < INFINITY:
            raise ValueError("weight must be above 0; set distillation to null for none")


@config
class RegularizationConfig:
    """Penalties that keep the model close to its base model; 0 switches one off."""

    weights: float = 0.0
    """Each update moves the weights back by this share times the learning rate (L2-SP: Li et al. 2018, decoupled as in
    AdamW). 0.1 is weak, 10 is strong."""
    similarities: float = 0.0
    """Weight of the divergence between the similarities of a batch and those of the base model, added to the loss
    (ZSCL: Zheng et al. 2023). Usual values are 0.5 to 2."""

    def __post_init__(self) -> None:
        for name in ("weights", "similarities"):
            if not 0 <= getattr(self, name) < INFINITY:
                raise ValueError(f"{name} must be 0 or more")


@config
class FinetuneConfig:
    """The section `finetune`: what is trained, on which objective, for how long, and how."""

    base_model: AnyBaseModelConfig
    """The model that training starts from."""
    replay: ReplayConfig | None = None
    """With a champion as base model: train on all that is new and on a part of the rest. null: on all products."""
    device: str = "auto"
    """`auto` (CUDA if available, otherwise the CPU), `cpu`, `cuda` or `cuda:1`."""
    processes: int | Literal["auto"] = "auto"
    """Number of training processes, one for each GPU. `auto`: the number of GPUs, and 1 on a CPU."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Number format of the computation; `auto`: bf16 where it is faster (GPUs; on newer CPUs a tower without
    convolutions), otherwise fp32."""
    compile: bool | Literal["auto"] = "auto"
    """Compile the towers with torch.compile; `auto`: on a GPU, in runs of 2,000 steps or more, where it is faster."""
    gradient_checkpointing: bool = False
    """Compute activations twice instead of storing them: half the memory for a third more time."""
    trainable: Literal["heads", "image_only", "image_tower", "text_tower", "all"] = "image_tower"
    """The parameters that are trained. `heads`: both projections and the logit scale. `image_tower`, `text_tower`: the
    heads and that tower (the latter is LiT, Zhai et al. 2022). `image_only`: the image tower and its projection, so
    that text embeddings stay unchanged. `all`: everything."""
    last_layers: int | None = None
    """Train only this number of last blocks of each trained tower; null: all blocks."""
    layer_decay: float = 1.0
    """Factor from the learning rate of a block to that of the block before it, above 0 and at most 1. Usual values for
    a ViT are 0.65 to 0.9, since early layers are general."""
    lora_rank: int | None = None
    """Rank of low-rank updates that replace updates of the matrices (Hu et al. 2022), usually 8 to 64; null: none."""
    ema_decay: float | None = None
    """Decay of a moving average of the weights, which is one more candidate at each checkpoint; usually 0.99 to 0.9999.
    null: none."""
    heads_first: HeadsFirstConfig | None = None
    """Train the projections first, then the rest (LP-FT); null: everything from the first step."""
    regularization: RegularizationConfig = RegularizationConfig()
    """Penalties that keep the model close to its base model."""
    distillation: DistillationConfig | None = None
    """Learn from the embeddings of a larger model; null: from captions alone."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """The contrastive training objective."""
    epochs: int = 3
    """Passes over the training products."""
    batch_size: int = 128
    """Image-text pairs in a batch, over all processes together; at least 2."""
    learning_rate: float = 3e-4
    """Highest learning rate, after the warm-up. Published CLIP models need 1.0e-6 to 1.0e-5."""
    warmup_fraction: float = 0.1
    """Share of all steps, from 0 to below 1, in which the learning rate rises to its highest value."""
    weight_decay: float = 0.05
    """Weight decay of AdamW."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay rates of the moment estimates of AdamW."""
    clip_grad_norm: float = 1.0
    """Largest gradient norm; longer gradients are scaled down to it."""
    max_logit_scale: float = 100.0
    """Upper limit of the logit scale (the inverse temperature), from 1 to 1000."""
    max_skipped_steps: int = 5
    """Updates that may be skipped because a loss or gradient is not finite; after more the run stops."""
    num_candidates: int = 8
    """Checkpoints that become candidates, more of them early in the run. The base model is one more candidate."""
    checkpoint_every: int = 20
    """Steps between the checkpoints from which an interrupted run continues."""
    pixel_cache_gb: float = 20.0
    """Largest size of the file of decoded images, in GB. Images are decoded once if they fit, else for every batch."""
    captions: dict[str, float] = field(default_factory=lambda: {"title": 0.4, "attributes": 0.3, "short": 0.3})
    """How often each kind of caption is sampled, relative to the other kinds that a product has. Short captions prepare
    the model for queries of one or two words."""
    augment: AugmentConfig = AugmentConfig()
    """How training images are varied."""

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
            raise ValueError("layer_decay must be above 0 and at most 1")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError("ema_decay must be between 0 and 1, or null")
        for name in ("epochs", "num_candidates", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: each pair is compared with the others of its batch")
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
        if self.distillation and self.trainable == "text_tower":
            raise ValueError(
                "distillation must be null where trainable is text_tower, since it teaches the image tower"
            )
        if self.trainable == "heads" and (self.last_layers or self.lora_rank or self.heads_first):
            raise ValueError("last_layers, lora_rank and heads_first must be null where trainable is heads")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of captions that are trained on."""
        weights = self.objective.fields or self.captions
        return frozenset(kind for kind, weight in weights.items() if weight > 0)


def _check_weights(name: str, weights: dict[str, float]) -> None:
    if unknown := sorted(set(weights) - set(CAPTION_KINDS)):
        raise ValueError(f"the keys of {name} must be among {', '.join(CAPTION_KINDS)}, not {', '.join(unknown)}")
    if not all(0 <= weight < INFINITY for weight in weights.values()):
        raise ValueError(f"{name} must have weights of 0 or more")
    if not any(weights.values()):
        raise ValueError(f"{name} must give at least one kind a weight above 0")


def to_json(config: FinetuneConfig) -> dict[str, Any]:
    """Return the config as plain JSON values."""
    return {**asdict(config), "betas": list(config.betas)}


def from_json(values: dict[str, Any]) -> FinetuneConfig:
    """Return the config that `to_json` wrote; raises UserError for anything else."""
    try:
        first, replay, distillation = (values[name] for name in ("heads_first", "replay", "distillation"))
        return FinetuneConfig(
            **{
                **values,
                "base_model": base_model_from_json(values["base_model"]),
                "replay": None if replay is None else ReplayConfig(**replay),
                "distillation": None if distillation is None else DistillationConfig(**distillation),
                "betas": tuple(values["betas"]),
                "augment": AugmentConfig(**values["augment"]),
                "objective": ObjectiveConfig(**values["objective"]),
                "regularization": RegularizationConfig(**values["regularization"]),
                "heads_first": None if first is None else HeadsFirstConfig(**first),
            }
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"not a valid finetune config: {error}") from error
