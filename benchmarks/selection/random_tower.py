"""A base model whose image tower knows nothing: random weights, beside the text tower of another base model."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch

from fclip.files import atomic_dir
from fclip.models import store


def write_random_image_tower(base_model: Path, out: Path, *, image_tower: str, image_size: int, seed: int) -> None:
    """Write a model folder to `out` with the texts of `start`, and an image tower of timm's with random weights.

    Batch norms keep their statistics in fine-tuning, so that a tower needs to do without.
    """
    clip = store.load(base_model)
    model_cfg: dict[str, Any] = deepcopy(store.read_config(base_model)["model_cfg"])
    model_cfg["vision_cfg"] |= {"timm_model_name": image_tower, "timm_pool": "avg", "image_size": image_size}
    text_cfg = {**model_cfg["text_cfg"], "hf_model_name": str(base_model), "hf_tokenizer_name": str(base_model)}
    with store.quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CustomTextCLIP(**{**model_cfg, "text_cfg": text_cfg})
    of_texts = {name: tensor for name, tensor in clip.model.state_dict().items() if not name.startswith("visual.")}
    model.load_state_dict({**model.state_dict(), **of_texts})
    with atomic_dir(out) as folder:
        store.save(model.state_dict(), config_from=base_model, out_dir=folder)
        store.write_config(model_cfg, clip.preprocess, folder)
