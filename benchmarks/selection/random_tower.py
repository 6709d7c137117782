"""A base model whose image tower has random weights."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch

from fclip.files import atomic_dir
from fclip.models import store
from fclip.models.folder import read_config, write_config


def write_random_image_tower(base_model: Path, out: Path, *, image_tower: str, image_size: int, seed: int) -> None:
    """Write a model folder to `out`: the text tower of `base_model`, and a timm image tower with random weights.

    Args:
        image_tower: the timm model. It must not need batch norms, whose statistics fine-tuning does not update.
    """
    clip = store.load(base_model)
    model_cfg: dict[str, Any] = deepcopy(read_config(base_model)["model_cfg"])
    model_cfg["vision_cfg"] |= {"timm_model_name": image_tower, "timm_pool": "avg", "image_size": image_size}
    text_cfg = {**model_cfg["text_cfg"], "hf_model_name": str(base_model), "hf_tokenizer_name": str(base_model)}
    with store.quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CustomTextCLIP(**{**model_cfg, "text_cfg": text_cfg})
    text_tower = {name: tensor for name, tensor in clip.model.state_dict().items() if not name.startswith("visual.")}
    model.load_state_dict({**model.state_dict(), **text_tower})
    with atomic_dir(out) as folder:
        store.save(model.state_dict(), config_from=base_model, out_dir=folder)
        write_config(model_cfg, clip.preprocess, folder)
