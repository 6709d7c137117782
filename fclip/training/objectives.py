"""Training objectives: contrastive losses of a batch whose rows may be distributed over processes.

Features have unit length, float32. A `Contrast` compares the rows of this process with the rows of the whole batch, so
that memory grows only with the rows of the process. The loss of the batch is the mean over the processes.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812


@dataclass(frozen=True)
class Contrast:
    """A batch of N pairs, n of which belong to this process.

    Attributes:
        images, texts: [n, d], features of this process's pairs.
        all_images, all_texts: [N, d], features of the whole batch.
        positive: bool [n, N], which pairs of rows are positives. Each row is a positive of itself.
    """

    images: torch.Tensor
    texts: torch.Tensor
    all_images: torch.Tensor
    all_texts: torch.Tensor
    positive: torch.Tensor

    @classmethod
    def single_process(
        cls, images: torch.Tensor, texts: torch.Tensor, positive: torch.Tensor | None = None
    ) -> "Contrast":
        """Return the contrast of a whole batch in one process.

        Args:
            images, texts: [N, d], not necessarily normalised.
            positive: bool [N, N]; None if each row is only its own positive.
        """
        images, texts = unit(images), unit(texts)
        if positive is None:
            positive = torch.eye(len(images), dtype=torch.bool, device=images.device)
        return cls(images, texts, images, texts, positive)


def unit(features: torch.Tensor) -> torch.Tensor:
    """Return the rows normalised to unit length, float32."""
    return F.normalize(features.float(), dim=-1)


def positive_mask(*codes: torch.Tensor, rows: slice) -> torch.Tensor:
    """Return which rows share a code in any of `codes`, each int64 [N] with −1 for none: bool [n, N] for `rows`."""
    shared = torch.zeros(0)
    for code in codes:
        same = (code[rows, None] == code[None]) & (code[rows, None] >= 0)
        shared = same if not len(shared) else shared | same
    index = torch.arange(len(codes[0]), device=codes[0].device)
    return shared | (index[rows, None] == index[None])


def clip_loss(contrast: Contrast, logit_scale: torch.Tensor) -> torch.Tensor:
    """CLIP loss: mean of the image-to-text and the text-to-image cross-entropy (Radford et al. 2021).

    For a row with several positives, the target is uniform over them (L_out of supervised contrastive learning, Khosla
    et al. 2020).

    Args:
        logit_scale: scalar factor of the cosine similarities (the exponential of the stored parameter).
    """
    targets = contrast.positive / contrast.positive.sum(1, keepdim=True)
    image_to_text = logit_scale.float() * contrast.images @ contrast.all_texts.T
    text_to_image = logit_scale.float() * contrast.texts @ contrast.all_images.T
    return (F.cross_entropy(image_to_text, targets) + F.cross_entropy(text_to_image, targets)) / 2


def siglip_loss(contrast: Contrast, logit_scale: torch.Tensor, logit_bias: torch.Tensor) -> torch.Tensor:
    """SigLIP loss: binary cross-entropy per pair, summed over texts, mean over images (Zhai et al. 2023)."""
    logits = logit_scale.float() * contrast.images @ contrast.all_texts.T + logit_bias.float()
    return -F.logsigmoid(torch.where(contrast.positive, logits, -logits)).sum(1).mean()


def divergence(
    contrast: Contrast, logit_scale: torch.Tensor, reference: Contrast, reference_scale: torch.Tensor
) -> torch.Tensor:
    """Kullback–Leibler divergence of a batch's similarities from those of a reference model, mean of both directions.

    It regularizes a model towards its base model (ZSCL: Zheng et al. 2023).
    """

    def direction(
        queries: torch.Tensor, keys: torch.Tensor, reference_queries: torch.Tensor, reference_keys: torch.Tensor
    ) -> torch.Tensor:
        predicted = F.log_softmax(logit_scale.float() * queries @ keys.T, dim=1)
        target = F.log_softmax(reference_scale.float() * reference_queries @ reference_keys.T, dim=1)
        return F.kl_div(predicted, target, reduction="batchmean", log_target=True)

    image_to_text = direction(contrast.images, contrast.all_texts, reference.images, reference.all_texts)
    text_to_image = direction(contrast.texts, contrast.all_images, reference.texts, reference.all_images)
    return (image_to_text + text_to_image) / 2
