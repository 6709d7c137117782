"""The output of the base model's image tower before its projection, of all images, computed once per run."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from fclip.files import atomic_path
from fclip.images.tensors import normalise
from fclip.models.split_tower import SplitTower
from fclip.models.store import Clip
from fclip.progress import progress
from fclip.training.pixel_sources import PixelSource
from fclip.training.processes import World
from fclip.training.stop import Interrupted, Stop

BATCH_SIZE = 64


@torch.no_grad()
def load_pooled_images(
    clip: Clip, open_pixels: Callable[[], AbstractContextManager[PixelSource]], path: Path, *, world: World, stop: Stop
) -> torch.Tensor:
    """Return the pooled features of all images, float32 [images, width], cached in the file `path`.

    Raises:
        Interrupted: `stop` returned true during encoding. Nothing is saved.
    """
    if world.any(not path.exists(), clip.device):
        with (
            open_pixels() as pixels,
            world.leader_first(),
        ):  # all processes open them, since opening waits for the leader
            if not path.exists():
                features = _encode(clip, pixels, stop)
                with atomic_path(path) as temporary:
                    save_file({"pooled": features}, temporary)
    return load_file(path)["pooled"].to(clip.device)


def _encode(clip: Clip, pixels: PixelSource, stop: Stop) -> torch.Tensor:
    tower, features = SplitTower.of_images(clip.model), []
    plan = np.array_split(np.arange(len(pixels)), -(-len(pixels) // BATCH_SIZE))
    for batch in progress(pixels.batches(plan), label="Encoding images", total=len(pixels), unit="images", size=len):
        if stop(0):
            raise Interrupted("interrupted while encoding images; run the command again to resume")
        features.append(tower.pooled(normalise(batch.to(clip.device), clip.preprocess)).cpu())
    return torch.cat(features)
