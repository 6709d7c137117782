"""One training step: features, loss, gradients and the update of the weights."""

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
from fclip.training.sampling import derive_seed
from fclip.training.teacher import regression_loss
from fclip.training.torch_private import lerp_
from fclip.training.trainable import (
    parameter_groups,
    set_training_mode,
    trainable_parameters,
    trains_image_tower,
    trains_text_tower,
)

ADDED_BIAS = "objective.logit_bias"
Features = tuple[torch.Tensor, ...]  # of images and of each caption, [n, d] each
Pair = tuple[torch.Tensor, torch.Tensor]  # of images and of one caption


@dataclass(frozen=True)
class Captions:
    """One caption for each of the n rows of this process in a batch of N.

    Attributes:
        texts: returns the texts of a slice of the n rows.
        positive: bool [n, N], which pairs of rows are positives.
    """

    texts: Callable[[slice], TextBatch]
    positive: torch.Tensor


@dataclass(frozen=True)
class BatchInputs:
    """The n rows of this process in a batch of N.

    Attributes:
        images: uint8 [n, size, size, 3] at the model's size, or cached output of a frozen tower, float32 [n, width].
        captions: the captions of the rows; the loss is the mean of the losses with each of them.
        teacher: float32 [n, d], unit length, the features to learn from another model, NaN where there are none; None
            without distillation.
    """

    images: torch.Tensor
    captions: tuple[Captions, ...]
    teacher: torch.Tensor | None = None


@dataclass(frozen=True)
class UpdateResult:
    """The batch's loss before the update, the norm of the unclipped gradient, and whether the update was applied."""

    loss: float
    gradient_norm: float
    applied: bool


class MovingAverage:
    """Exponential moving average of the trainable parameters. It often generalises better than the last weights.

    The decay after n updates is min(`decay`, (1 + n) / (10 + n)), so that the base model does not dominate the average
    of a short run.

    Attributes:
        averages: the averaged parameters, by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self.averages = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Update the averages with the parameters after `num_updates` updates."""
        share = 1 - min(self._decay, (1 + num_updates) / (10 + num_updates))
        lerp_(list(self.averages.values()), list(self._parameters.values()), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Context in which the model's parameters have the averaged values."""
        current = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._copy(self.averages)
        try:
            yield
        finally:
            self._copy(current)

    @torch.no_grad()
    def _copy(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])


class Learner:
    """A model in training: its trainable parameters, their optimiser, and the regularization towards the base model.

    Args:
        clip: the model; exactly its trainable parameters require gradients.
        base: the frozen base model; None without regularization towards it (`config.regularization`).
        compiled: whether to compile the towers with torch.compile.
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
        trainable = trainable_parameters(model)
        self.parameters = dict(trainable)
        self._scale: nn.Parameter = model.logit_scale
        self._bias: nn.Parameter | None = getattr(model, "logit_bias", None)
        if (
            config.objective.loss == "siglip" and self._bias is None
        ):  # not saved with candidates: it does not affect rankings
            self._bias = self.parameters[ADDED_BIAS] = nn.Parameter(torch.full((), math.nan, device=clip.device))
        origin = {} if base is None else dict(base.named_parameters())
        self._regularized: list[torch.Tensor] = [parameter for name, parameter in trainable.items() if name in origin]
        self._origin: list[torch.Tensor] = [origin[name] for name in trainable if name in origin]
        self.ema = None if config.ema_decay is None else MovingAverage(trainable, config.ema_decay)
        self.optimiser = torch.optim.AdamW(
            parameter_groups(self.parameters, weight_decay=config.weight_decay, layer_decay=config.layer_decay),
            betas=config.betas,
            fused=clip.device.type in ("cpu", "cuda"),
        )

    @property
    def logit_scale(self) -> float:
        """The current factor of the cosine similarities."""
        return float(self._scale.detach().exp())

    def update(self, inputs: BatchInputs, *, rate: float, num_updates: int, seed: int) -> UpdateResult:
        """Update the weights by the gradient of the batch's loss. Skip the update if loss or gradient is not finite.

        Args:
            rate: learning rate of the projections; blocks have a fraction of it.
            num_updates: number of previous updates.
            seed: seed of dropout.
        """
        set_training_mode(self.clip.model, training=True)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._world.mean(self._backward(inputs, seed))
        parameters = list(self.parameters.values())
        self._world.mean_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self._config.clip_grad_norm)
        update = UpdateResult(float(loss), float(norm), bool(torch.isfinite(loss) & torch.isfinite(norm)))
        if update.applied:
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group["rate_scale"]
            self.optimiser.step()
            self._regularize(rate)
            if self.ema is not None:
                self.ema.update(num_updates + 1)
        return update

    @torch.no_grad()
    def loss(self, inputs: BatchInputs) -> float:
        """Return the objective's loss, without regularization, of a batch that only this process holds."""
        set_training_mode(self.clip.model, training=False)
        return float(self._loss(_encode(self.encoder, inputs, slice(None)), None, inputs, World()))

    def _backward(self, inputs: BatchInputs, seed: int) -> torch.Tensor:
        """Compute the gradients of the parameters and return this process's loss.

        With micro-batches (GradCache: Gao et al. 2021), features are computed twice: first without gradients, for the
        loss and its gradient with respect to the features; then per micro-batch, to backpropagate that gradient.
        """
        num_rows = len(inputs.images)
        size = self._config.objective.micro_batch_size or num_rows
        slices = [slice(begin, min(begin + size, num_rows)) for begin in range(0, num_rows, size)]
        if len(slices) == 1:
            torch.manual_seed(seed)
            base = self._base_features(inputs, slices)
            loss = self._loss(_encode(self.encoder, inputs, slices[0]), base, inputs, self._world)
            loss.backward()
            return loss.detach()
        with torch.no_grad():
            parts = [self._encode_seeded(inputs, rows, seed) for rows in slices]
            base = self._base_features(inputs, slices)
        features = tuple(torch.cat(each).requires_grad_() for each in zip(*parts, strict=True))
        loss = self._loss(features, base, inputs, self._world)
        loss.backward()
        for rows in slices:
            encoded = self._encode_seeded(inputs, rows, seed)
            trained = [pair for pair in zip(encoded, features, strict=True) if pair[0].requires_grad]
            gradients: list[Any] = [whole.grad for _, whole in trained]
            torch.autograd.backward([part for part, _ in trained], [each[rows] for each in gradients])
        return loss.detach()

    def _loss(self, features: Features, base: Features | None, inputs: BatchInputs, world: World) -> torch.Tensor:
        losses = []
        for number, captions in enumerate(inputs.captions, start=1):
            reference = None if base is None else (base[0], base[number])
            losses.append(self._caption_loss((features[0], features[number]), reference, captions.positive, world))
        loss = losses[0] if len(losses) == 1 else torch.stack(losses).mean()
        if self._config.distillation is not None and inputs.teacher is not None:  # validation has no teacher
            loss = loss + self._config.distillation.weight * regression_loss(features[0], inputs.teacher, world.mean)
        return loss

    def _caption_loss(self, features: Pair, base: Pair | None, positive: torch.Tensor, world: World) -> torch.Tensor:
        contrast = world.gather(*features, positive)
        scale = self._scale.exp()
        if self._config.objective.loss == "clip":
            loss = clip_loss(contrast, scale)
        else:
            assert self._bias is not None
            bias: torch.Tensor = self._bias
            if bias.isnan():
                # Set on the first batch, so that the model initially expects one positive in each row of N.
                learns = torch.is_grad_enabled()  # validation batches differ between processes, so nothing is stored
                with torch.no_grad():
                    mean = world.mean((contrast.images @ contrast.all_texts.T).mean())
                    fitting = -scale * mean - math.log(len(contrast.all_texts))
                    bias = self._bias.copy_(fitting) if learns else fitting
            loss = siglip_loss(contrast, scale, bias)
        if base is not None:
            reference = world.gather(*base, positive)
            reference_scale = self._base.logit_scale.exp()
            penalty = divergence(contrast, scale, reference, reference_scale)
            loss = loss + self._config.regularization.similarities * penalty
        return loss

    def _encode_seeded(self, inputs: BatchInputs, rows: slice, seed: int) -> Features:
        torch.manual_seed(derive_seed(seed, rows.start))  # the same dropout in both passes
        return _encode(self.encoder, inputs, rows)

    def _base_features(self, inputs: BatchInputs, slices: list[slice]) -> Features | None:
        if self._base_encoder is None:
            return None
        with torch.no_grad():
            parts = [_encode(self._base_encoder, inputs, rows) for rows in slices]
        return tuple(torch.cat(each) for each in zip(*parts, strict=True))

    @torch.no_grad()
    def _regularize(self, rate: float) -> None:
        if self._regularized and (share := rate * self._config.regularization.weights):
            lerp_(self._regularized, self._origin, min(share, 1.0))
        self._scale.clamp_(0, math.log(self._config.max_logit_scale))


def _encode(encoder: Encoder, inputs: BatchInputs, rows: slice) -> Features:
    return encoder.images(inputs.images[rows]), *(encoder.texts(each.texts(rows)) for each in inputs.captions)
