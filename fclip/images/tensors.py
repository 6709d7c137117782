"""Normalisation of decoded images on the device of a model."""

import numpy as np
import torch

from fclip.models.preprocess import Preprocess


def normalise(batch: np.ndarray | torch.Tensor, preprocess: Preprocess) -> torch.Tensor:
    """Normalise uint8 [n, height, width, 3] to float32 [n, 3, height, width], channels-last, on the same device."""
    pixels = torch.as_tensor(batch).permute(0, 3, 1, 2)
    mean = torch.tensor(preprocess.mean, device=pixels.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(preprocess.std, device=pixels.device).view(1, 3, 1, 1) * 255
    return (pixels.float() - mean) / std
