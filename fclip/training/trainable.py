"""The trainable parameters of a model: their selection, their depth, and their learning rates."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from fclip.errors import UserError
from fclip.models.folder import IMAGE_TOWER
from fclip.models.split_tower import BIAS, IMAGE_PROJECTIONS, PROJECTIONS, SCALE
from fclip.training.config import FinetuneConfig

BATCH_NORMALISATION = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)

# Names of blocks in open_clip's ViT and ResNet, timm's ViT and EfficientNet, and transformers' models.
_BLOCK = re.compile(r"\.(?:resblocks|blocks|layers?)\.(\d+)\.|\.layer(\d)\.")
# Modules that follow the blocks. Other parameters outside of blocks (patches, embeddings) precede them.
_AFTER = re.compile(r"(?:^|\.)(?:ln_post|ln_final|norm|fc_norm|attn_pool|attnpool|conv_head|bn2|pooler|pre_logits)\.")


def trainable_names(model: nn.Module, config: FinetuneConfig) -> frozenset[str]:
    """Return the names of the parameters that `config` trains.

    They always include the logit scale and the projections, if the model has any: both of them, or with `image_only`
    only the image projection.

    Raises:
        UserError: only the heads are to be trained, and the model has none (as SigLIP, which has no projections).
    """
    names = [name for name, _ in model.named_parameters()]
    projections = IMAGE_PROJECTIONS if config.trainable == "image_only" else PROJECTIONS
    heads = {name for name in names if name.startswith(projections)}
    scale = {SCALE, *({BIAS} & set(names) if config.objective.loss == "siglip" else ())}  # a softmax cancels the bias
    if config.trainable == "heads":
        if not heads:
            raise UserError(
                "finetune.trainable is heads, but the base model has no projections; set it to image_tower, text_tower "
                "or all"
            )
        return frozenset(heads | scale)
    towers = {"image_only": (True,), "image_tower": (True,), "text_tower": (False,), "all": (True, False)}[
        config.trainable
    ]
    tuned = {name for name in names if name not in (SCALE, BIAS) and name.startswith(IMAGE_TOWER) in towers}
    if config.last_layers is not None:
        depth = layer_depths(names)
        last = {tower: max(depth[name] for name in tuned if name.startswith(IMAGE_TOWER) == tower) for tower in towers}
        tuned = {name for name in tuned if depth[name] >= last[name.startswith(IMAGE_TOWER)] - config.last_layers}
    return frozenset(tuned | heads | scale)


def head_names(names: frozenset[str]) -> frozenset[str]:
    """Return those of `names` that belong to the projections, the logit scale or the logit bias."""
    return frozenset(name for name in names if name.startswith((*PROJECTIONS, SCALE, BIAS)))


def layer_depths(names: list[str]) -> dict[str, int]:
    """Return each parameter's depth in its tower: 0 before the blocks, 1 to n in the n blocks, n + 1 after them."""
    depths: dict[str, int] = {}
    for image in (True, False):
        tower_names = [name for name in names if name.startswith(IMAGE_TOWER) == image]
        blocks: dict[str, int] = {}  # "visual.trunk.blocks.3" -> 4, in the order of the parameters
        block_depth = {}
        for name in tower_names:
            if match := _BLOCK.search(f".{name}"):
                block_depth[name] = blocks.setdefault(f".{name}"[: match.end()], len(blocks) + 1)
        last = len(blocks) + 1
        for name in tower_names:
            after = name.startswith(PROJECTIONS) or name in (SCALE, BIAS) or _AFTER.search(name)
            depths[name] = block_depth.get(name, last if after else 0)
    return depths


def freeze_all_except(model: nn.Module, names: frozenset[str]) -> None:
    """Freeze all parameters except those in `names`."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def set_training_mode(model: nn.Module, *, training: bool) -> None:
    """Set the trained towers to training mode, or all towers to evaluation mode. Frozen towers have no dropout.

    Batch normalisation always keeps the base model's statistics. Statistics of one catalog's photographs (a centred
    product on white) make the model worse on all other kinds of images.
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
    """Whether any parameter of the tower besides its projection is trained."""
    return _is_trainable(model, image=True)


def trains_text_tower(model: nn.Module) -> bool:
    """Whether any parameter of the tower besides its projection is trained."""
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
    """Return AdamW's parameter groups: matrices have weight decay; norms, biases and the logit scale have none.

    `rate_scale` of a group is the factor of its learning rate: 1 for the projections, and for a block `layer_decay`
    times the factor of the next block (discriminative fine-tuning of ULMFiT; layer-wise decay of BEiT).
    """
    depth = layer_depths(list(parameters))
    last = {
        image: max((value for name, value in depth.items() if name.startswith(IMAGE_TOWER) == image), default=0)
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
    """Return the parameters that are not frozen, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
