"""The trainable parameters of a model: which they are, how far from its input, and how fast each learns."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from fclip.errors import UserError
from fclip.models.split import BIAS, IMAGE_PROJECTIONS, IMAGE_TOWER, PROJECTIONS, SCALE
from fclip.training.config import FinetuneConfig

BATCH_NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

# Blocks: open_clip's ViT, ResNet; timm's ViT and EfficientNet; transformers'.
_BLOCK = re.compile(r"\.(?:resblocks|blocks|layers?)\.(\d+)\.|\.layer(\d)\.")
# Modules that follow the blocks; anything else outside them (patches, embeddings) goes before them.
_AFTER = re.compile(r"(?:^|\.)(?:ln_post|ln_final|norm|fc_norm|attn_pool|attnpool|conv_head|bn2|pooler|pre_logits)\.")


def trainable_names(model: nn.Module, config: FinetuneConfig) -> frozenset[str]:
    """Names of the parameters that `config` trains.

    Both projections (with `image_only` the image tower's alone), where there are any, and the logit scale always are.

    Raises:
        UserError: the heads alone are to be tuned, and the model has none (SigLIP's towers meet without a projection).
    """
    names = [name for name, _ in model.named_parameters()]
    projections = IMAGE_PROJECTIONS if config.trainable == "image_only" else PROJECTIONS
    heads = {name for name in names if name.startswith(projections)}
    scale = {SCALE, *({BIAS} & set(names) if config.objective.loss == "siglip" else ())}  # a softmax cancels the bias
    if config.trainable == "heads":
        if not heads:
            raise UserError(
                "finetune.trainable is heads, but this model has no projections: use image_tower, text_tower or all"
            )
        return frozenset(heads | scale)
    towers = {"image_only": (True,), "image_tower": (True,), "text_tower": (False,), "all": (True, False)}[
        config.trainable
    ]
    tuned = {name for name in names if name not in (SCALE, BIAS) and name.startswith(IMAGE_TOWER) in towers}
    if config.last_layers is not None:
        depth = depths(names)
        last = {tower: max(depth[name] for name in tuned if name.startswith(IMAGE_TOWER) == tower) for tower in towers}
        tuned = {name for name in tuned if depth[name] >= last[name.startswith(IMAGE_TOWER)] - config.last_layers}
    return frozenset(tuned | heads | scale)


def heads_of(names: frozenset[str]) -> frozenset[str]:
    """Of trainable names, those of the projections and the logit scale."""
    return frozenset(name for name in names if name.startswith((*PROJECTIONS, SCALE, BIAS)))


def depths(names: list[str]) -> dict[str, int]:
    """How far each parameter is from its tower's input: 0 before the first block, then 1 a block, then one more."""
    found: dict[str, int] = {}
    for image in (True, False):
        own = [name for name in names if name.startswith(IMAGE_TOWER) == image]
        blocks: dict[str, int] = {}  # "visual.trunk.blocks.3" -> 4, in the order of the parameters
        place = {}
        for name in own:
            if match := _BLOCK.search(f".{name}"):
                place[name] = blocks.setdefault(f".{name}"[: match.end()], len(blocks) + 1)
        last = len(blocks) + 1
        for name in own:
            after = name.startswith(PROJECTIONS) or name in (SCALE, BIAS) or _AFTER.search(name)
            found[name] = place.get(name, last if after else 0)
    return found


def freeze_others(model: nn.Module, names: frozenset[str]) -> None:
    """Let only the parameters in `names` have gradients."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def set_mode(model: nn.Module, *, training: bool) -> None:
    """Put the tuned towers into training mode (or none), so that a frozen tower's dropout stays still.

    Batch normalisation keeps the statistics of the base model throughout. Those of one catalog's photographs (white, with
    the product in the middle) make a model that is worse on every other kind, long before its weights are.
    """
    model.eval()
    if not training:
        return
    for module in _trainable_towers(model):
        module.train()
    for module in model.modules():
        if isinstance(module, BATCH_NORMALISATION):
            module.eval()


def trains_image_tower(model: nn.Module) -> bool:
    """Whether more of it than its projection has gradients."""
    return _is_trainable(model, image=True)


def trains_text_tower(model: nn.Module) -> bool:
    """Whether more of it than its projection has gradients."""
    return _is_trainable(model, image=False)


def _is_trainable(model: nn.Module, *, image: bool) -> bool:
    return any(
        parameter.requires_grad and name.startswith(IMAGE_TOWER) == image
        for name, parameter in model.named_parameters()
        if not name.startswith((*PROJECTIONS, SCALE, BIAS))
    )


def _trainable_towers(model: Any) -> list[nn.Module]:
    towers: list[nn.Module] = [model.visual] if trains_image_tower(model) else []
    if trains_text_tower(model):
        towers += [child for name, child in model.named_children() if name != "visual"]
    return towers


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], *, weight_decay: float, layer_decay: float
) -> list[dict[str, Any]]:
    """What AdamW tunes: matrices with weight decay; norms, biases and the logit scale without.

    A group has `rate_scale`, what its learning rate is multiplied by: 1 for the projections, and `layer_decay` times
    that of the block after it for a block (ULMFiT's discriminative rates; BEiT's for ViTs).
    """
    depth = depths(list(parameters))
    last = {
        image: max((d for name, d in depth.items() if name.startswith(IMAGE_TOWER) == image), default=0)
        for image in (True, False)
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            continue
        scale = (
            1.0 if name.endswith((SCALE, BIAS)) else layer_decay ** (last[name.startswith(IMAGE_TOWER)] - depth[name])
        )
        groups.setdefault((scale, weight_decay if parameter.ndim >= 2 else 0.0), []).append(parameter)
    return [
        {"params": members, "weight_decay": decay, "rate_scale": scale} for (scale, decay), members in groups.items()
    ]


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that have gradients, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
