"""A model folder behind the methods of `fclip.runtime.Model`, computed with torch, for GPUs."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import FloatArray, unit
from fclip.models.device import resolve_device
from fclip.models.store import load
from fclip.runtime.manifest import Manifest, read_manifest
from fclip.runtime.model import Model, Output
from fclip.runtime.parts import Parts
from fclip.runtime.texts import require_texts


class TorchModel(Model):
    """A model whose towers run in torch. Inputs, outputs and errors are those of `Model`."""

    def __init__(self, folder: Path, device: str) -> None:
        """Args: folder: a package (`fclip.export.package`). device: "cpu", "cuda", "cuda:1" or "auto"."""
        self._folder, self._device = folder, resolve_device(device)
        super().__init__(_manifest_only(read_manifest(folder)))

    @cached_property
    def _clip(self):  # type: ignore[no-untyped-def]
        return load(self._folder, device=self._device)

    def encode_pixels(self, pixels: NDArray[np.uint8], *, output: Output = "embeddings") -> FloatArray:
        features = encode_images(self._clip, pixels)
        return unit(features) if output == "embeddings" else features

    def embed_texts(self, texts: Sequence[str], *, batch_size: int = 128, output: Output = "embeddings") -> FloatArray:
        require_texts(texts)
        features = encode_texts(self._clip, list(texts), batch_size=batch_size)
        return unit(features) if output == "embeddings" else features


def _manifest_only(manifest: Manifest) -> Parts:
    def unused(*_: object) -> Callable[..., object]:
        raise AssertionError("torch loads the weights")

    return Parts(manifest, unused, unused, unused)  # type: ignore[arg-type]
