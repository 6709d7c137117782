"""What the towers learn to agree on: losses of one batch, each process holding some of its rows.

Features here are of unit length, float32. `Contrast` has the rows of this process against those of the whole batch
(which are the same where one process trains), so that a loss takes memory for its own rows alone; the loss of the
batch is the mean over the processes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812


@dataclass(frozen=True)
class Contrast:
    """A batch of N pairs, n of them this process's.

    Attributes:
        images, texts: [n, d], row i of both is a pair.
        all_images, all_texts: [N, d].
        positive: bool [n, N], which rows go with which; at least each row's own pair.
    """

    images: torch.Tensor
    texts: torch.Tensor
    all_images: torch.Tensor
    all_texts: torch.Tensor
    positive: torch.Tensor

    @classmethod
    def alone(cls, images: torch.Tensor, texts: torch.Tensor, positive: torch.Tensor | None = None) -> "Contrast":
        """A whole batch in one process; without `positive`, of pairs alone. Features need not be normalised."""
        images, texts = unit(images), unit(texts)
        if positive is None:
            positive = torch.eye(len(images), dtype=torch.bool, device=images.device)
        return cls(images, texts, images, texts, positive)


def unit(features: torch.Tensor) -> torch.Tensor:
    """Rows divided by their lengths, float32."""
    return F.normalize(features.float(), dim=-1)


def positives(*codes: torch.Tensor, rows: slice) -> torch.Tensor:
    """Which rows share a code: bool [n, N], of `rows` against all; each of `codes` is int64 [N], −1 for none."""
    shared = torch.zeros(0)
    for code in codes:
        own = (code[rows, None] == code[None]) & (code[rows, None] >= 0)
        shared = own if not len(shared) else shared | own
    pairs = torch.arange(len(codes[0]), device=codes[0].device)
    return shared | (pairs[rows, None] == pairs[None])


def clip_loss(contrast: Contrast, logit_scale: torch.Tensor) -> torch.Tensor:
    """CLIP's: mean of both cross-entropies of telling what goes with each row from the rest (Radford et al. 2021).

    A row with several positives is to give each the same probability: the mean of their log-probabilities counts
    (L_out of supervised contrastive learning, Khosla et al. 2020).

    Args:
        logit_scale: scalar that multiplies the cosines (the exponential of what a model stores).
    """
    targets = contrast.positive / contrast.positive.sum(1, keepdim=True)
    of_images = logit_scale.float() * contrast.images @ contrast.all_texts.T
    of_texts = logit_scale.float() * contrast.texts @ contrast.all_images.T
    return (F.cross_entropy(of_images, targets) + F.cross_entropy(of_texts, targets)) / 2


def siglip_loss(contrast: Contrast, logit_scale: torch.Tensor, logit_bias: torch.Tensor) -> torch.Tensor:
    """SigLIP's: whether each text goes with each image; summed over texts, a mean over images (Zhai et al. 2023)."""
    logits = logit_scale.float() * contrast.images @ contrast.all_texts.T + logit_bias.float()
    return -F.logsigmoid(torch.where(contrast.positive, logits, -logits)).sum(1).mean()


def divergence(contrast: Contrast, logit_scale: torch.Tensor, of: Contrast, scale_of: torch.Tensor) -> torch.Tensor:
    """How far a batch's similarities are from those of another model, `of`: Kullback–Leibler, both directions' mean.

    What holds a tuned model to its base model (distillation over a batch's similarities: ZSCL, Zheng et al. 2023).
    """

    def one(rows: torch.Tensor, columns: torch.Tensor, rows_of: torch.Tensor, columns_of: torch.Tensor) -> torch.Tensor:
        mine = F.log_softmax(logit_scale.float() * rows @ columns.T, dim=1)
        its = F.log_softmax(scale_of.float() * rows_of @ columns_of.T, dim=1)
        return F.kl_div(mine, its, reduction="batchmean", log_target=True)

    images = one(contrast.images, contrast.all_texts, of.images, of.all_texts)
    texts = one(contrast.texts, contrast.all_images, of.texts, of.all_images)
    return (images + texts) / 2
