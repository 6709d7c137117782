"""Both towers of a model as training runs them: whole, or the projection alone on what a frozen tower gave once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from fclip.images.pixels import normalise
from fclip.models.split import Split
from fclip.models.store import Clip
from fclip.training.compute import Precision, autocast, autocast_dtype
from fclip.training.objectives import unit

Encode = Callable[[torch.Tensor], torch.Tensor]
TOKENS_STEP = 8  # lengths of a batch's tokens are multiples of it, which kernels like and compilers need


@dataclass(frozen=True)
class TextBatch:
    """The texts of a batch of n rows: m distinct ones, and which of them each row has.

    Attributes:
        inputs: tokens, int64 [m, length], or what a frozen tower gave, float32 [m, width].
        texts: int64 [k], rows of `inputs`.
        rows: int64 [k], the batch's row that has the text; each row has at least one.
        weights: float32 [k], of a row's texts in its features; None where each row has one text.
    """

    inputs: torch.Tensor
    texts: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor | None
    num_rows: int


class Encoder:
    """Features of unit length, float32 [n, d], of a batch.

    A tower of which no more than the projection is tuned takes what `pooled_images` and `pooled_texts` gave.
    """

    def __init__(
        self, clip: Clip, precision: Precision, *, image_is_tuned: bool, text_is_tuned: bool, compiled: bool = False
    ) -> None:
        self._clip, self._device = clip, clip.device
        self.image_is_tuned, self.text_is_tuned = image_is_tuned, text_is_tuned
        model: Any = clip.model
        self._image_dtype = autocast_dtype(precision, model.visual, self._device)
        self._text_dtype = autocast_dtype(precision, getattr(model, "text", None) or model.transformer, self._device)
        self._texts = _Texts(model)
        encode = torch.compile if compiled else _as_it_is
        self._encode_images, self._encode_texts = encode(self._of_pixels), encode(self._texts.__call__)

    @property
    def formats(self) -> str:
        """The number formats of both towers, for people."""
        image, text = ("fp32" if dtype is None else "bf16" for dtype in (self._image_dtype, self._text_dtype))
        return f"image tower {image}, text tower {text}"

    def images(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of pixels, uint8 [n, size, size, 3] at the model's size, or of what the frozen tower gave of them."""
        with autocast(self._device, self._image_dtype):
            if self.image_is_tuned:
                return unit(self._encode_images(inputs))
            return unit(Split.of_images(self._clip.model).project(inputs))

    def texts(self, batch: TextBatch) -> torch.Tensor:
        """Of texts: a row's is the weighted mean of those of its texts."""
        with autocast(self._device, self._text_dtype):
            if self.text_is_tuned:
                distinct = unit(self._encode_texts(batch.inputs))
            else:
                distinct = unit(Split.of_texts(self._clip.model).project(batch.inputs))
        features = distinct[batch.texts]
        if batch.weights is None:
            return features
        summed = features.new_zeros(batch.num_rows, features.shape[1])
        return unit(summed.index_add(0, batch.rows, features * batch.weights[:, None]))

    @torch.no_grad()
    def pooled_images(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the frozen image tower gives of pixels, before its projection: float32 [n, width]."""
        return Split.of_images(self._clip.model).pooled(normalise(pixels, self._clip.preprocess))

    @torch.no_grad()
    def pooled_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the frozen text tower gives of tokens, before its projection: float32 [n, width]."""
        return replace(Split.of_texts(self._clip.model), encode=self._texts).pooled(tokens)

    def _of_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self._clip.model.encode_image(normalise(pixels, self._clip.preprocess))  # type: ignore[operator]
        return encoded

    def needed(self, lengths: torch.Tensor) -> int | None:
        """How many tokens a batch of texts of these lengths needs, those of start and end included; None: all."""
        return self._texts.needed(lengths)


def _as_it_is(function: Encode) -> Encode:
    return function


class _Texts:
    """The text tower, for tokens that are cut after the longest text of a batch where that changes nothing.

    It changes nothing where what comes later is not looked at: transformers' towers mask padding, and in CLIP's each
    token sees those before it and the text's end is what counts. CLIP's has one position and one row of the mask for
    each token of the whole context: the first ones are taken.
    """

    def __init__(self, model: Any) -> None:
        self._whole = _Whole(model)
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

    def needed(self, lengths: torch.Tensor) -> int | None:
        if not (self._masks_padding or self._is_causal):
            return None
        return -(-int(lengths.max()) // TOKENS_STEP) * TOKENS_STEP

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        cut = {}
        if self._is_causal and (length := tokens.shape[1]) < len(self._tower.positional_embedding):
            cut["positional_embedding"] = self._tower.positional_embedding[:length]
            cut["attn_mask"] = self._tower.attn_mask[:length, :length]
        values = {f"{self._prefix}{name}": value for name, value in cut.items()}
        encoded: torch.Tensor = functional_call(self._whole, values, (tokens,)) if cut else self._whole(tokens)
        return encoded


class _Whole(nn.Module):
    """The text side of a model as one module, which is what `functional_call` calls."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        encoded: torch.Tensor = self.model.encode_text(tokens)
        return encoded
