"""The inputs of each training step and validation batch. They do not depend on where a run was interrupted.

`data.py` samples each pass and indexes its images and texts, and `job.py` assembles the `TrainingData`.
`pixel_sources.py` provides pixels and `texts.py` provides tokens or features. This module builds the `BatchInputs`.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray

from fclip.models.store import Clip
from fclip.training.augment import augment, sample_augmentation
from fclip.training.config import FinetuneConfig
from fclip.training.data import NumberedPasses
from fclip.training.encoder import Encoder, TextBatch
from fclip.training.learner import BatchInputs, Captions
from fclip.training.objectives import positive_mask
from fclip.training.pixel_sources import PixelSource
from fclip.training.pooled_images import load_pooled_images
from fclip.training.processes import World
from fclip.training.sampling import derive_seed
from fclip.training.stop import Stop
from fclip.training.texts import TextInputs, load_encoded_texts, tokenise_texts

NUM_PREFETCHED = 2
POOLED_TRAINING_IMAGES, POOLED_VALIDATION_IMAGES = "training-images.safetensors", "validation-images.safetensors"

AugmentedBatch = tuple[torch.Tensor, float]
"""Augmented images on the device, uint8 [n, size, size, 3], and the seconds spent waiting for them."""


@dataclass(frozen=True)
class TrainingData:
    """The training and validation data of a run.

    Attributes:
        texts: the distinct texts.
        product_ids: product ids of the training items.
        teacher: float32 [items, d], unit length, the features that images should have, NaN where there are none; None
            without distillation.
        open_crops: opens the pixels of the training images, larger than the model's size for cropping.
        open_training: opens the pixels of the training images at the model's size.
        open_validation: opens the pixels of the validation images at the model's size.
        cache: folder for features that are computed once per run.
    """

    training: NumberedPasses
    validation: NumberedPasses
    texts: list[str]
    product_ids: list[str]
    teacher: torch.Tensor | None
    open_crops: Callable[[], AbstractContextManager[PixelSource]]
    open_training: Callable[[], AbstractContextManager[PixelSource]]
    open_validation: Callable[[], AbstractContextManager[PixelSource]]
    cache: Path


class Loader:
    """Loads the inputs of one phase of a run, in the form that its trainable towers need. Use as a context manager."""

    def __init__(
        self,
        clip: Clip,
        encoder: Encoder,
        config: FinetuneConfig,
        data: TrainingData,
        world: World,
        *,
        seed: int,
        stop: Stop,
    ) -> None:
        self._clip, self._encoder, self._config, self._data = clip, encoder, config, data
        self._world, self._seed, self._stop = world, seed, stop
        self._open = ExitStack()

    def __enter__(self) -> "Loader":
        encoder, cache = self._encoder, self._data.cache
        fields = self._config.objective.fields
        weights = None if fields is None else torch.tensor([fields[kind] for kind in sorted(self._config.kinds)])
        with self._world.leader_first():
            self._texts: TextInputs = (
                tokenise_texts(self._clip, encoder, self._data.texts, weights)
                if encoder.text_is_tuned
                else load_encoded_texts(
                    self._clip, encoder, self._data.texts, weights, cache / "captions.safetensors", self._stop
                )
            )
        if encoder.image_is_tuned:
            self._training, self._validation = (
                self._open.enter_context(open_pixels())
                for open_pixels in (self._data.open_crops, self._data.open_validation)
            )
        else:
            self._training_features, self._validation_features = (
                load_pooled_images(self._clip, open_pixels, cache / name, world=self._world, stop=self._stop)
                for open_pixels, name in (
                    (self._data.open_training, POOLED_TRAINING_IMAGES),
                    (self._data.open_validation, POOLED_VALIDATION_IMAGES),
                )
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def steps_per_epoch(self) -> int:
        """Number of full batches in a pass."""
        return int(self._data.training.images.shape[1]) // self._config.batch_size

    @property
    def num_validation_rows(self) -> int:
        """Number of rows in a validation batch."""
        return min(self._config.batch_size, int(self._data.validation.images.shape[1]))

    def locate_step(self, number: int) -> tuple[int, slice]:
        """Return the pass that contains step `number` of the run, and the step's rows in the pass."""
        epoch, position = divmod(number, self.steps_per_epoch)
        return epoch, slice(position * self._config.batch_size, (position + 1) * self._config.batch_size)

    def product_ids(self, number: int, count: int) -> list[str]:
        """Return the ids of the first `count` products in the batch of step `number`."""
        epoch, rows = self.locate_step(number)
        return [self._data.product_ids[item] for item in self._data.training.items[epoch, rows][:count]]

    def training(self, first: int, last: int) -> Iterator[tuple[BatchInputs, float]]:
        """Yield the inputs of steps `first` to `last` − 1, each with the seconds spent waiting for its images."""
        images = self._data.training.images
        local_rows = self._world.rows(self._config.batch_size)
        numbers = range(first, last)
        plan = [images[epoch, rows][local_rows] for epoch, rows in map(self.locate_step, numbers)]
        if not self._encoder.image_is_tuned:
            for number, indices in zip(numbers, plan, strict=True):
                yield self._training_inputs(number, self._training_features[torch.from_numpy(indices)]), 0.0
            return
        with PrefetchedBatches(self._training, plan, pinned=self._clip.device.type == "cuda") as batches:
            augmented = prefetch_to_device(self._augment(numbers, batches, local_rows), self._clip.device)
            for number, (pixels, waited) in zip(numbers, augmented, strict=True):
                yield self._training_inputs(number, pixels), waited

    def _augment(self, numbers: range, batches: "PrefetchedBatches", local_rows: slice) -> Iterator[AugmentedBatch]:
        """Yield the augmented images of the steps `numbers`, and the seconds spent waiting for them."""
        waited = 0.0
        for number, pixels in zip(numbers, batches, strict=True):
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "augment", number))
            sampled = sample_augmentation(self._config.augment, self._config.batch_size, generator)[local_rows]
            on_device = pixels.to(self._clip.device, non_blocking=True)
            yield augment(on_device, sampled, size=self._clip.preprocess.size), batches.seconds_waited - waited
            waited = batches.seconds_waited

    def validation(self) -> Iterator[BatchInputs]:
        """Yield this process's full validation batches. If there are fewer products than a batch, yield one batch."""
        data, size = self._data.validation, self.num_validation_rows
        begins = range(0, data.images.shape[1] - size + 1, size)[self._world.rank :: self._world.size]
        slices = [slice(begin, begin + size) for begin in begins]
        plan = [data.images[0, rows] for rows in slices]
        batches = (
            self._validation.batches(plan)
            if self._encoder.image_is_tuned
            else (self._validation_features[torch.from_numpy(indices)] for indices in plan)
        )
        for rows, images in zip(slices, batches, strict=True):
            yield self._batch_inputs(images.to(self._clip.device), data, 0, rows, slice(None))

    def _training_inputs(self, number: int, images: torch.Tensor) -> BatchInputs:
        epoch, rows = self.locate_step(number)
        local_rows = self._world.rows(self._config.batch_size)
        inputs = self._batch_inputs(images, self._data.training, epoch, rows, local_rows)
        if self._data.teacher is None:
            return inputs
        items = torch.from_numpy(self._data.training.items[epoch, rows][local_rows])
        return replace(inputs, teacher=self._data.teacher[items].to(self._clip.device))

    def _batch_inputs(
        self, images: torch.Tensor, passes: NumberedPasses, epoch: int, rows: slice, local_rows: slice
    ) -> BatchInputs:
        columns = [passes.texts[epoch, rows]]
        if self._config.objective.fields is None:  # each column is a caption of its own
            columns = np.split(columns[0], columns[0].shape[1], axis=1)
        return BatchInputs(
            images=images,
            captions=tuple(
                Captions(
                    texts=partial(self._texts_of, texts[local_rows]),
                    positive=positive_mask(*self._codes(texts, passes, epoch, rows), rows=local_rows),
                )
                for texts in columns
            ),
        )

    def _texts_of(self, texts: NDArray[np.int64], part: slice) -> TextBatch:
        return self._texts.batch(texts[part])

    def _codes(
        self, texts: NDArray[np.int64], passes: NumberedPasses, epoch: int, rows: slice
    ) -> tuple[torch.Tensor, ...]:
        """Return int64 [N] codes: rows that share one are positives of each other."""
        if self._config.objective.positives == "shared":
            same = texts[:, 0] if texts.shape[1] == 1 else np.unique(texts, axis=0, return_inverse=True)[1].ravel()
            codes = [same, passes.images[epoch, rows], passes.items[epoch, rows]]
        else:
            codes = [np.arange(len(texts))]
        return tuple(torch.from_numpy(code).to(self._clip.device) for code in codes)


class PrefetchedBatches:
    """Iterator over the batches of a plan; a thread prepares the next `NUM_PREFETCHED` batches.

    Use as a context manager inside that of `source`: its exit waits for the batch in preparation.

    Attributes:
        seconds_waited: how long the consumer has waited for batches so far.
    """

    def __init__(self, source: PixelSource, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> None:
        self.seconds_waited = 0.0
        self._batches = source.batches(plan, pinned=pinned)
        self._thread = ThreadPoolExecutor(1)
        self._prepared = deque(self._prepare() for _ in range(NUM_PREFETCHED))

    def __enter__(self) -> "PrefetchedBatches":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self

    def __next__(self) -> torch.Tensor:
        began = time.monotonic()
        batch = self._prepared.popleft().result()
        self.seconds_waited += time.monotonic() - began
        self._prepared.append(self._prepare())
        if batch is None:
            raise StopIteration
        return batch

    def _prepare(self) -> Future[torch.Tensor | None]:
        return self._thread.submit(next, self._batches, None)


def prefetch_to_device(batches: Iterator[AugmentedBatch], device: torch.device) -> Iterator[AugmentedBatch]:
    """Yield `batches`; on a GPU, produce each of them one step ahead on a separate CUDA stream.

    Copying and augmentation then overlap with the previous training step. On a CPU the batches pass through unchanged.
    """
    if device.type != "cuda":
        yield from batches
        return
    side_stream = torch.cuda.Stream(device)

    def produce() -> AugmentedBatch | None:
        with torch.cuda.stream(side_stream):
            return next(batches, None)

    ready = produce()
    while ready is not None:
        images, waited = ready
        training = torch.cuda.current_stream(device)
        training.wait_stream(side_stream)
        images.record_stream(training)  # else its memory could be reused for the next batch during this step
        ready = produce()
        yield images, waited
