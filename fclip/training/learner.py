"""One training step: from the inputs of a batch to features, loss, gradients and new weights."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from fclip.models.store import Clip
from fclip.training.config import FinetuneConfig
from fclip.training.encoder import Encoder, TextBatch
from fclip.training.objectives import clip_loss, divergence, siglip_loss
from fclip.training.processes import World
from fclip.training.sampling import derive
from fclip.training.torch_private import lerp_
from fclip.training.trainable import (
    parameter_groups,
    set_mode,
    trainable_parameters,
    trains_image_tower,
    trains_text_tower,
)

OWN_BIAS = "objective.logit_bias"
Features = tuple[torch.Tensor, torch.Tensor]  # of images and of texts, [n, d] each


@dataclass(frozen=True)
class Inputs:
    """This process's n rows of a batch of N.

    Attributes:
        images: uint8 [n, size, size, 3] at the model's size, or what a frozen tower gave, float32 [n, width].
        texts: the texts of some of the n rows.
        positive: bool [n, N], which rows of the batch go with which.
    """

    images: torch.Tensor
    texts: Callable[[slice], TextBatch]
    positive: torch.Tensor


@dataclass(frozen=True)
class Update:
    """The batch's loss before an update, the length of its gradient before clipping, and whether it was applied."""

    loss: float
    gradient_norm: float
    applied: bool


class MovingAverage:
    """An exponential moving average of trainable parameters, by name; it generalises better than the last weights.

    The decay grows to `decay` with the number of updates n, as (1 + n) / (10 + n), so that the average of a short run
    is not mostly the base model.

    Attributes:
        averages: the averaged parameters, by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self.averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Take in the parameters as they are after `num_updates` updates."""
        share = 1 - min(self._decay, (1 + num_updates) / (10 + num_updates))
        lerp_(list(self.averages.values()), list(self._parameters.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within, the model's parameters have the averaged values."""
        held = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._copy(self.averages)
        try:
            yield
        finally:
            self._copy(held)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


class Learner:
    """A model in training: its trainable parameters, their optimiser, and the regularization towards the base model.

    Args:
        clip: its trainable parameters have gradients, the others have none.
        base: the frozen base model; None without regularization towards it (`config.regularization`).
        compiled: whether torch.compile makes the towers' kernels.
    """

    def __init__(
        self,
        clip: Clip,
        config: FinetuneConfig,
        world: World,
        base: nn.Module | None = None,
        *,
        compiled: bool = False,
    ) -> None:
        self.clip, self._config, self._world = clip, config, world
        model: Any = clip.model
        options: dict[str, Any] = {
            "image_is_tuned": trains_image_tower(model),
            "text_is_tuned": trains_text_tower(model),
        }
        self._base: Any = base
        self._base_encoder = None
        if config.regularization.similarities and base is not None:
            self._base_encoder = Encoder(replace(clip, model=base), config.precision, **options)
        if config.gradient_checkpointing:
            model.set_grad_checkpointing()
        self.encoder = Encoder(clip, config.precision, compiled=compiled, **options)
        own = trainable_parameters(model)
        self.parameters = dict(own)
        self._scale: nn.Parameter = model.logit_scale
        self._bias: nn.Parameter | None = getattr(model, "logit_bias", None)
        if config.objective.loss == "siglip" and self._bias is None:  # candidates do without: it changes no order
            self._bias = self.parameters[OWN_BIAS] = nn.Parameter(torch.full((), math.nan, device=clip.device))
        origin = {} if base is None else dict(base.named_parameters())
        self._regularized: list[torch.Tensor] = [parameter for name, parameter in own.items() if name in origin]
        self._origin: list[torch.Tensor] = [origin[name] for name in own if name in origin]
        self.ema = None if config.ema_decay is None else MovingAverage(own, config.ema_decay)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.parameters, weight_decay=config.weight_decay, layer_decay=config.layer_decay),
            betas=config.betas,
            fused=clip.device.type in ("cpu", "cuda"),
        )

    @property
    def logit_scale(self) -> float:
        """What multiplies the cosines now."""
        return float(self._scale.detach().exp())

    def update(self, inputs: Inputs, *, rate: float, num_updates: int, seed: int) -> Update:
        """Take one step down the gradient of the batch's loss; none where loss or gradient is not finite.

        Args:
            rate: learning rate of the projections; blocks have their share of it.
            num_updates: how many came before.
            seed: of dropout.
        """
        set_mode(self.clip.model, training=True)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._world.mean(self._backward(inputs, seed))
        parameters = list(self.parameters.values())
        self._world.mean_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self._config.clip_grad_norm)
        update = Update(float(loss), float(norm), bool(torch.isfinite(loss) & torch.isfinite(norm)))
        if update.applied:
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group["rate_scale"]
            self.optimiser.step()
            self._regularize(rate)
            if self.ema is not None:
                self.ema.update(num_updates + 1)
        return update

    @torch.no_grad()
    def loss(self, inputs: Inputs) -> float:
        """The objective's loss of a batch that is this process's alone, without regularization."""
        set_mode(self.clip.model, training=False)
        return float(self._loss(self._encode(inputs, slice(None)), None, inputs, World()))

    def _backward(self, inputs: Inputs, seed: int) -> torch.Tensor:
        """Put the gradients into the parameters; returns this process's loss.

        With micro-batches (GradCache: Gao et al. 2021) features are computed twice: without their history, for the
        loss and its gradient in them, then a micro-batch at a time with it, for that gradient to go on.
        """
        num_rows = len(inputs.images)
        size = self._config.objective.micro_batch_size or num_rows
        slices = [slice(begin, min(begin + size, num_rows)) for begin in range(0, num_rows, size)]
        if len(slices) == 1:
            torch.manual_seed(seed)
            base = self._base_features(inputs, slices)
            loss = self._loss(self._encode(inputs, slices[0]), base, inputs, self._world)
            loss.backward()
            return loss.detach()
        with torch.no_grad():
            found = [self._encode_seeded(inputs, rows, seed) for rows in slices]
            base = self._base_features(inputs, slices)
        images, texts = (torch.cat(each).requires_grad_() for each in zip(*found, strict=True))
        loss = self._loss((images, texts), base, inputs, self._world)
        loss.backward()
        assert images.grad is not None
        assert texts.grad is not None
        for rows in slices:
            torch.autograd.backward(self._encode_seeded(inputs, rows, seed), (images.grad[rows], texts.grad[rows]))
        return loss.detach()

    def _loss(self, features: Features, base: Features | None, inputs: Inputs, world: World) -> torch.Tensor:
        contrast = world.gather(*features, inputs.positive)
        scale = self._scale.exp()
        if self._config.objective.loss == "clip":
            loss = clip_loss(contrast, scale)
        else:
            assert self._bias is not None
            bias: torch.Tensor = self._bias
            if bias.isnan():
                # So that of a row of N the model expects one pair, as it is so: found on the first batch.
                learns = torch.is_grad_enabled()  # what validates is not the same batch in every process
                with torch.no_grad():
                    mean = world.mean((contrast.images @ contrast.all_texts.T).mean())
                    fitting = -scale * mean - math.log(len(contrast.all_texts))
                    bias = self._bias.copy_(fitting) if learns else fitting
            loss = siglip_loss(contrast, scale, bias)
        if base is not None:
            of = world.gather(*base, inputs.positive)
            scale_of = self._base.logit_scale.exp()
            loss = loss + self._config.regularization.similarities * divergence(contrast, scale, of, scale_of)
        return loss

    def _encode(self, inputs: Inputs, rows: slice) -> Features:
        return self.encoder.images(inputs.images[rows]), self.encoder.texts(inputs.texts(rows))

    def _encode_seeded(self, inputs: Inputs, rows: slice, seed: int) -> Features:
        torch.manual_seed(derive(seed, rows.start))  # both passes drop out the same
        return self._encode(inputs, rows)

    def _base_features(self, inputs: Inputs, slices: list[slice]) -> Features | None:
        if self._base_encoder is None:
            return None
        with torch.no_grad():
            found = [
                (self._base_encoder.images(inputs.images[rows]), self._base_encoder.texts(inputs.texts(rows)))
                for rows in slices
            ]
        images, texts = (torch.cat(each) for each in zip(*found, strict=True))
        return images, texts

    @torch.no_grad()
    def _regularize(self, rate: float) -> None:
        if self._regularized and (share := rate * self._config.regularization.weights):
            lerp_(self._regularized, self._origin, min(share, 1.0))
        self._scale.clamp_(0, math.log(self._config.max_logit_scale))
