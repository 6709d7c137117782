"""The inputs of each training step and validation batch; they are the same wherever a run was interrupted.

`data.py` draws each pass and numbers its images and texts, and `job.py` assembles the `TrainingData`.
`pixel_sources.py` gives pixels by number and `texts.py` tokens or features; here they become the `Inputs` of a step.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fclip.files import atomic_path
from fclip.models.store import Clip
from fclip.progress import progress
from fclip.training.augment import augment, sample_augmentation
from fclip.training.config import FinetuneConfig
from fclip.training.data import NumberedPasses
from fclip.training.encoder import Encoder
from fclip.training.learner import Inputs
from fclip.training.objectives import positives
from fclip.training.pixel_sources import PixelSource
from fclip.training.processes import World
from fclip.training.sampling import derive
from fclip.training.stop import Interrupted, Stop
from fclip.training.texts import Texts, encoded, tokenised

IMAGES_AT_ONCE = 64
NUM_PREFETCHED = 2

VariedBatch = tuple[torch.Tensor, float]
"""Varied images on the device, uint8 [n, size, size, 3], and the seconds waited for them."""


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained and validated on.

    Attributes:
        texts: the distinct texts.
        product_ids: of the training items.
        open_crops: opens the pixels of the training images, with a margin for crops.
        open_training: opens the same images at the model's size.
        open_validation: opens the validation images at the model's size.
        cache: folder for what is computed once a run.
    """

    training: NumberedPasses
    validation: NumberedPasses
    texts: list[str]
    product_ids: list[str]
    open_crops: Callable[[], AbstractContextManager[PixelSource]]
    open_training: Callable[[], AbstractContextManager[PixelSource]]
    open_validation: Callable[[], AbstractContextManager[PixelSource]]
    cache: Path


class Loader:
    """Loads the inputs of one phase of a run, in the form that its trainable towers need. A context manager."""

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
        with self._world.first():
            self._texts: Texts = (
                tokenised(self._clip, encoder, self._data.texts, weights)
                if encoder.text_is_tuned
                else encoded(self._clip, encoder, self._data.texts, weights, cache / "captions.safetensors", self._stop)
            )
        if encoder.image_is_tuned:
            self._training, self._validation = (
                self._open.enter_context(open_pixels())
                for open_pixels in (self._data.open_crops, self._data.open_validation)
            )
        else:
            self._training_features, self._validation_features = (
                self._pooled(open_pixels, cache / name)
                for open_pixels, name in (
                    (self._data.open_training, "training-images.safetensors"),
                    (self._data.open_validation, "validation-images.safetensors"),
                )
            )
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in a pass."""
        return int(self._data.training.images.shape[1]) // self._config.batch_size

    def step(self, number: int) -> tuple[int, slice]:
        """The pass that a step of the run is in, and its rows of the pass."""
        epoch, place = divmod(number, self.steps_per_epoch)
        return epoch, slice(place * self._config.batch_size, (place + 1) * self._config.batch_size)

    def product_ids(self, number: int, count: int) -> list[str]:
        """The first products of a step's batch."""
        epoch, rows = self.step(number)
        return [self._data.product_ids[item] for item in self._data.training.items[epoch, rows][:count]]

    def training(self, first: int, last: int) -> Iterator[tuple[Inputs, float]]:
        """The inputs of the steps from `first` to before `last`, and the seconds that each waited for its images."""
        images = self._data.training.images
        own = self._world.rows(self._config.batch_size)
        numbers = range(first, last)
        plan = [images[epoch, rows][own] for epoch, rows in map(self.step, numbers)]
        if not self._encoder.image_is_tuned:
            for number, chosen in zip(numbers, plan, strict=True):
                yield self._inputs(number, self._training_features[torch.from_numpy(chosen)]), 0.0
            return
        with PrefetchedBatches(self._training, plan, pinned=self._clip.device.type == "cuda") as batches:
            varied = prefetch_to_device(self._varied(numbers, batches, own), self._clip.device)
            for number, (pixels, waited) in zip(numbers, varied, strict=True):
                yield self._inputs(number, pixels), waited

    def _varied(self, numbers: range, batches: "PrefetchedBatches", own: slice) -> Iterator[VariedBatch]:
        """The images of the steps `numbers`, each varied as its step has it, and the seconds waited for them."""
        waited = 0.0
        for number, pixels in zip(numbers, batches, strict=True):
            generator = torch.Generator().manual_seed(derive(self._seed, "augment", number))
            sampled = sample_augmentation(self._config.augment, self._config.batch_size, generator)[own]
            on_device = pixels.to(self._clip.device, non_blocking=True)
            yield augment(on_device, sampled, size=self._clip.preprocess.size), batches.seconds_waited - waited
            waited = batches.seconds_waited

    def validation(self) -> Iterator[Inputs]:
        """This process's full batches of the validation products; fewer products than a batch are one batch."""
        rows = self._data.validation
        size = min(self._config.batch_size, rows.images.shape[1])
        begins = range(0, rows.images.shape[1] - size + 1, size)[self._world.rank :: self._world.size]
        chosen = [slice(begin, begin + size) for begin in begins]
        plan = [rows.images[0, each] for each in chosen]
        found = (
            self._validation.batches(plan)
            if self._encoder.image_is_tuned
            else (self._validation_features[torch.from_numpy(each)] for each in plan)
        )
        for each, images in zip(chosen, found, strict=True):
            yield self._batch(images.to(self._clip.device), rows, 0, each, slice(None))

    def _inputs(self, number: int, images: torch.Tensor) -> Inputs:
        epoch, rows = self.step(number)
        return self._batch(images, self._data.training, epoch, rows, self._world.rows(self._config.batch_size))

    def _batch(self, images: torch.Tensor, of: NumberedPasses, epoch: int, rows: slice, own: slice) -> Inputs:
        texts = of.texts[epoch, rows]
        codes = []
        if self._config.objective.positives == "shared":
            same = texts[:, 0] if texts.shape[1] == 1 else np.unique(texts, axis=0, return_inverse=True)[1].ravel()
            codes = [same, of.images[epoch, rows], of.items[epoch, rows]]
        else:
            codes = [np.arange(len(texts))]
        own_texts = texts[own]
        return Inputs(
            images=images,
            texts=lambda part: self._texts.batch(own_texts[part]),
            positive=positives(*(torch.from_numpy(code).to(self._clip.device) for code in codes), rows=own),
        )

    def _pooled(self, open_pixels: Callable[[], AbstractContextManager[PixelSource]], path: Path) -> torch.Tensor:
        """What the frozen image tower gives of all images, from the file `path`, made where it is not there yet."""
        with self._world.first():
            if not path.exists():
                found = []
                with open_pixels() as pixels:
                    plan = np.array_split(np.arange(len(pixels)), -(-len(pixels) // IMAGES_AT_ONCE))
                    batches = pixels.batches(plan)
                    label = "encode images"
                    for batch in progress(batches, label=label, total=len(pixels), unit="images", size=len):
                        if self._stop(0):
                            raise Interrupted("told to stop while images were encoded")
                        found.append(self._encoder.pooled_images(batch.to(self._clip.device)).cpu())
                with atomic_path(path) as temporary:
                    save_file({"pooled": torch.cat(found)}, temporary)
        return load_file(path)["pooled"].to(self._clip.device)


class PrefetchedBatches:
    """The batches of a plan, in its order; a thread prepares `NUM_PREFETCHED` of them while others are used.

    A context manager, to be left before that of its source: leaving it waits for the batch in preparation.

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


def prefetch_to_device(batches: Iterator[VariedBatch], device: torch.device) -> Iterator[VariedBatch]:
    """The same batches; on a GPU, each is copied and varied one step early, on a CUDA stream of its own.

    So the copy and the variation run beside the step before, which leaves memory bandwidth and copy engines idle.
    On a CPU the batches pass through unchanged.
    """
    if device.type != "cuda":
        yield from batches
        return
    side_stream = torch.cuda.Stream(device)

    def made() -> VariedBatch | None:
        with torch.cuda.stream(side_stream):
            return next(batches, None)

    ready = made()
    while ready is not None:
        images, waited = ready
        training = torch.cuda.current_stream(device)
        training.wait_stream(side_stream)
        images.record_stream(training)  # or the next batch could be written over it while it is trained on
        ready = made()
        yield images, waited
