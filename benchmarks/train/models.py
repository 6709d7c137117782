"""Where all start: a model of random weights as a folder that fclip and open_clip load, and the work of a sample."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from fclip.models.store import load, write_weights

SEED = 0


def write_base_model(folder: Path, model_cfg: Mapping[str, Any]) -> Path:
    """Write a CLIP of random weights, the same each time, in open_clip's local-directory form."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = open_clip.CLIP(**model_cfg)
    preprocess = Preprocess(
        size=model_cfg["vision_cfg"]["image_size"], mean=open_clip.OPENAI_DATASET_MEAN, std=open_clip.OPENAI_DATASET_STD
    )
    write_config(dict(model_cfg), preprocess, folder)
    write_weights(model, folder)
    return folder


def training_flops(base_model: Path) -> float:
    """Floating-point operations of one sample, forwards and backwards, in the matrix products and convolutions.

    Counted by torch, a multiplication and an addition as two; what is computed twice to save memory is not.
    """
    clip = load(base_model)
    size, num = clip.preprocess.size, 2
    images, tokens = torch.zeros(num, 3, size, size), clip.tokenizer(["a"] * num)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        features = clip.model.encode_image(images), clip.model.encode_text(tokens)  # type: ignore[operator]
        (features[0] * features[1]).sum().backward()
    return counter.get_total_flops() / num
