"""What a learner is fed: the inputs of every step and of every validation batch, the same however a run is split up."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from fclip.files import atomic_path
from fclip.models.store import Clip
from fclip.progress import progress
from fclip.training.ahead import ahead
from fclip.training.augment import augment, draw
from fclip.training.batches import PixelSource, PrefetchedBatches
from fclip.training.config import FinetuneConfig
from fclip.training.draws import derive
from fclip.training.encoder import Encoder
from fclip.training.learner import Inputs
from fclip.training.objectives import positives
from fclip.training.processes import World
from fclip.training.stop import Interrupted, Stop
from fclip.training.texts import Texts, encoded, tokenised

IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Rows:
    """Passes over products, in the order in which they are seen: numbers of images and texts.

    Attributes:
        items, images: int64 [passes, n].
        texts: int64 [passes, n, fields], −1 where a product lacks a field.
    """

    items: NDArray[np.int64]
    images: NDArray[np.int64]
    texts: NDArray[np.int64]


@dataclass(frozen=True)
class Data:
    """What a run is trained and validated on.

    Attributes:
        texts: the distinct texts; product_ids: of the training items.
        crops, views, checked: open pixels of the training images with a margin for crops, of the same at the model's
            size, and of the validation images at the model's size.
        kept: folder for what is computed once a run.
    """

    training: Rows
    validation: Rows
    texts: list[str]
    product_ids: list[str]
    crops: Callable[[], AbstractContextManager[PixelSource]]
    views: Callable[[], AbstractContextManager[PixelSource]]
    checked: Callable[[], AbstractContextManager[PixelSource]]
    kept: Path


class Feed:
    """The inputs of one phase of a run, for the towers as they are tuned in it. A context manager."""

    def __init__(
        self, clip: Clip, encoder: Encoder, config: FinetuneConfig, data: Data, world: World, *, seed: int, stop: Stop
    ) -> None:
        self._clip, self._encoder, self._config, self._data = clip, encoder, config, data
        self._world, self._seed, self._stop = world, seed, stop
        self._open = ExitStack()

    def __enter__(self) -> "Feed":
        encoder, kept = self._encoder, self._data.kept
        fields = self._config.objective.fields
        weights = None if fields is None else torch.tensor([fields[kind] for kind in sorted(self._config.kinds)])
        with self._world.first():
            self._texts: Texts = (
                tokenised(self._clip, encoder, self._data.texts, weights)
                if encoder.text_is_tuned
                else encoded(self._clip, encoder, self._data.texts, weights, kept / "captions.safetensors", self._stop)
            )
        if encoder.image_is_tuned:
            self._training, self._checked = (
                self._open.enter_context(opened()) for opened in (self._data.crops, self._data.checked)
            )
        else:
            self._training_features, self._checked_features = (
                self._pooled(opened, kept / name)
                for opened, name in (
                    (self._data.views, "training-images.safetensors"),
                    (self._data.checked, "validation-images.safetensors"),
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
        """The inputs of the steps from `first` to before `last`, and the seconds that each had to be waited for."""
        images = self._data.training.images
        own = self._world.rows(self._config.batch_size)
        numbers = range(first, last)
        plan = [images[epoch, rows][own] for epoch, rows in map(self.step, numbers)]
        if not self._encoder.image_is_tuned:
            for number, chosen in zip(numbers, plan, strict=True):
                yield self._inputs(number, self._training_features[torch.from_numpy(chosen)]), 0.0
            return
        with PrefetchedBatches(self._training, plan, pinned=self._clip.device.type == "cuda") as batches:
            varied = ahead(self._varied(numbers, batches, own), self._clip.device)
            for number, (pixels, waited) in zip(numbers, varied, strict=True):
                yield self._inputs(number, pixels), waited

    def _varied(self, numbers: range, batches: PrefetchedBatches, own: slice) -> Iterator[tuple[torch.Tensor, float]]:
        """The images of the steps `numbers`, each varied as its step has it, and the seconds waited for them."""
        waited = 0.0
        for number, pixels in zip(numbers, batches, strict=True):
            generator = torch.Generator().manual_seed(derive(self._seed, "augment", number))
            draws = draw(self._config.augment, self._config.batch_size, generator)[own]
            on_device = pixels.to(self._clip.device, non_blocking=True)
            yield augment(on_device, draws, size=self._clip.preprocess.size), batches.seconds_waited - waited
            waited = batches.seconds_waited

    def validation(self) -> Iterator[Inputs]:
        """This process's full batches of the validation products; fewer products than a batch are one batch."""
        rows = self._data.validation
        size = min(self._config.batch_size, rows.images.shape[1])
        begins = range(0, rows.images.shape[1] - size + 1, size)[self._world.rank :: self._world.size]
        chosen = [slice(begin, begin + size) for begin in begins]
        plan = [rows.images[0, each] for each in chosen]
        found = (
            self._checked.batches(plan)
            if self._encoder.image_is_tuned
            else (self._checked_features[torch.from_numpy(each)] for each in plan)
        )
        for each, images in zip(chosen, found, strict=True):
            yield self._batch(images.to(self._clip.device), rows, 0, each, slice(None))

    def _inputs(self, number: int, images: torch.Tensor) -> Inputs:
        epoch, rows = self.step(number)
        return self._batch(images, self._data.training, epoch, rows, self._world.rows(self._config.batch_size))

    def _batch(self, images: torch.Tensor, of: Rows, epoch: int, rows: slice, own: slice) -> Inputs:
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

    def _pooled(self, opened: Callable[[], AbstractContextManager[PixelSource]], path: Path) -> torch.Tensor:
        """What the frozen image tower gives of all images, from the file `path`, made where it is not there yet."""
        with self._world.first():
            if not path.exists():
                found = []
                with opened() as pixels:
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
