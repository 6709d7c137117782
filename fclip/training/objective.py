"""The contrastive objective: CLIP's (Radford et al. 2021, figure 3)."""

import torch
import torch.nn.functional as F  # noqa: N812


def clip_loss(image_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor) -> torch.Tensor:
    """Mean of both cross-entropies of telling each pair from the others of its batch.

    Equal captions in a batch count as each other's negatives: the loss of a batch with many cannot reach 0.

    Args:
        image_features, text_features: [n, d], row i of both is a pair; need not be normalised.
        logit_scale: scalar that multiplies the cosines (the exponential of what a model stores).

    Returns:
        A float32 scalar.
    """
    images = F.normalize(image_features.float(), dim=-1)
    texts = F.normalize(text_features.float(), dim=-1)
    logits = logit_scale.float() * images @ texts.T
    labels = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
