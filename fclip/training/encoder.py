"""Both towers as training runs them: a trained tower completely, a frozen tower only from its cached output on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from fclip.images.tensors import normalise
from fclip.models.split_tower import SplitTower
from fclip.models.store import Clip
from fclip.training.compute import Precision, autocast, autocast_dtype
from fclip.training.objectives import unit

Encode = Callable[[torch.Tensor], torch.Tensor]
TOKENS_STEP = 8  # token lengths are multiples of it: faster kernels, and fewer shapes to compile


@dataclass(frozen=True)
class TextBatch:
    """The m distinct texts of a batch of n rows, and the k pairs of a row and one of its texts.

    Attributes:
        inputs: tokens, int64 [m, length], or the cached output of a frozen tower, float32 [m, width].
        texts: int64 [k], the row of `inputs` of each pair.
        rows: int64 [k], the row of the batch of each pair; each row has at least one text.
        weights: float32 [k], the weight of the text in the row's features; None if each row has one text.
        num_rows: n.
    """

    inputs: torch.Tensor
    texts: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor | None
    num_rows: int


class Encoder:
    """Computes unit-length features, float32 [n, d], of a batch.

    A tower that is frozen except for its projection takes the output of `load_pooled_images` or `pooled_texts`.
    """

    def __init__(
        self, clip: Clip, precision: Precision, *, image_is_tuned: bool, text_is_tuned: bool, compiled: bool = False
    ) -> None:
        self._clip, self._device = clip, clip.device
        self.image_is_tuned, self.text_is_tuned = image_is_tuned, text_is_tuned
        model: Any = clip.model
        self._image_dtype = autocast_dtype(precision, model.visual, self._device)
        self._text_dtype = autocast_dtype(precision, getattr(model, "text", None) or model.transformer, self._device)
        self._text_tower = _TextTower(model)
        wrap = torch.compile if compiled else _identity
        self._encode_images, self._encode_texts = wrap(self._encode_pixels), wrap(self._text_tower.__call__)

    @property
    def formats(self) -> str:
        """A description of the number formats of both towers."""
        image, text = ("fp32" if dtype is None else "bf16" for dtype in (self._image_dtype, self._text_dtype))
        return f"image tower {image}, text tower {text}"

    def images(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return image features.

        Args:
            inputs: uint8 [n, size, size, 3] at the model's size, or the output of `load_pooled_images`.
        """
        with autocast(self._device, self._image_dtype):
            if self.image_is_tuned:
                return unit(self._encode_images(inputs))
            return unit(SplitTower.of_images(self._clip.model).project(inputs))

    def texts(self, batch: TextBatch) -> torch.Tensor:
        """Return text features: for each row, the normalised weighted mean over its texts."""
        with autocast(self._device, self._text_dtype):
            if self.text_is_tuned:
                distinct = unit(self._encode_texts(batch.inputs))
            else:
                distinct = unit(SplitTower.of_texts(self._clip.model).project(batch.inputs))
        features = distinct[batch.texts]
        if batch.weights is None:
            return features
        summed = features.new_zeros(batch.num_rows, features.shape[1])
        return unit(summed.index_add(0, batch.rows, features * batch.weights[:, None]))

    @torch.no_grad()
    def pooled_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the output of the frozen text tower before its projection: float32 [n, width]."""
        return replace(SplitTower.of_texts(self._clip.model), encode=self._text_tower).pooled(tokens)

    def _encode_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self._clip.model.encode_image(normalise(pixels, self._clip.preprocess))  # type: ignore[operator]
        return encoded

    def needed_tokens(self, lengths: torch.Tensor) -> int | None:
        """Return the number of tokens that a batch of texts needs, or None for the whole context.

        Args:
            lengths: int64 [n], tokens of each text, including start and end.
        """
        return self._text_tower.needed_tokens(lengths)


def _identity(function: Encode) -> Encode:
    return function


class _TextTower:
    """The text tower, for tokens truncated to the longest text of a batch where that does not change the features.

    The features do not change if the tower masks padding (transformers), or if its attention is causal and the
    features are taken at the end-of-text token (CLIP). CLIP's positional embedding and attention mask cover the whole
    context, so they are truncated as well.
    """

    def __init__(self, model: Any) -> None:
        self._encode = _EncodeText(model)
        tower = getattr(model, "text", model)
        self._prefix = "model." if tower is model else "model.text."
        pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
        self._masks_padding = getattr(getattr(tower, "config", None), "pad_token_id", None) is not None
        self._is_causal = (
            getattr(tower, "attn_mask", None) is not None
            and pool in ("argmax", "eos")
            and getattr(tower, "cls_emb", None) is None
            and not getattr(tower, "use_pad_mask", False)
        )
        self._tower = tower

    def needed_tokens(self, lengths: torch.Tensor) -> int | None:
        if not (self._masks_padding or self._is_causal):
            return None
        return -(-int(lengths.max()) // TOKENS_STEP) * TOKENS_STEP

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        truncated = {}
        if self._is_causal and (length := tokens.shape[1]) < len(self._tower.positional_embedding):
            truncated["positional_embedding"] = self._tower.positional_embedding[:length]
            truncated["attn_mask"] = self._tower.attn_mask[:length, :length]
        values = {f"{self._prefix}{name}": value for name, value in truncated.items()}
        encoded: torch.Tensor = functional_call(self._encode, values, (tokens,)) if values else self._encode(tokens)
        return encoded


class _EncodeText(nn.Module):
    """`encode_text` of a model as a module, because `functional_call` requires one."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.model.encode_text(tokens)
        return encoded
