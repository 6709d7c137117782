"""A model in onnxruntime: embeddings of images and texts, and zero-shot classification."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.images.pixels import normalise
from fclip.models.preprocess import Preprocess
from fclip.runtime.images import ImageInput, read_pixels
from fclip.runtime.manifest import IMAGE_GRAPH, TEXT_GRAPH, Manifest
from fclip.runtime.parts import Parts
from fclip.runtime.texts import TextEncoder

FloatArray: TypeAlias = NDArray[np.float32]
Output: TypeAlias = Literal["embeddings", "features"]
BATCH_SIZE = 32  # more images do not fit into the caches of a CPU
TEMPLATE = "a photo of a {}"


class Model:
    """Embeds images and texts in one space: the dot product of two embeddings is their cosine similarity.

    A graph is loaded when it is first used. Embeddings equal those of the pipeline up to rounding. Methods may be
    called from several threads.
    """

    def __init__(self, parts: Parts, *, num_threads: int | None = None) -> None:
        """Args: num_threads: threads of onnxruntime; None for one per core."""
        self._parts = parts
        self._num_threads = num_threads

    @property
    def manifest(self) -> Manifest:
        """Digests, sizes and preprocessing of the model."""
        return self._parts.manifest

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.manifest.dim

    def embed_images(
        self,
        images: Sequence[ImageInput],
        *,
        batch_size: int = BATCH_SIZE,
        output: Output = "embeddings",
        read: Callable[[ImageInput, Preprocess], NDArray[np.uint8]] = read_pixels,
    ) -> FloatArray:
        """Return the embeddings of images, float32 [n, dim]. Images of the next batch are decoded meanwhile.

        Args:
            images: paths, contents of image files, Pillow images, or uint8 arrays [height, width, 3].
            output: "embeddings" are L2-normalised; "features" are not.
            read: returns the pixels of an image.

        Raises:
            UserError: an image cannot be read; the message names its index.
        """
        preprocess = self.manifest.image

        def decode(index: int) -> NDArray[np.uint8]:
            try:
                return read(images[index], preprocess)
            except UserError as error:
                raise UserError(f"image {index}: {error}") from error

        result = np.empty((len(images), self.dim), np.float32)
        starts = range(0, len(images), _positive(batch_size))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ahead = [pool.submit(decode, index) for index in range(min(batch_size, len(images)))]
            for start in starts:
                batch = ahead
                following = range(start + batch_size, min(start + 2 * batch_size, len(images)))
                ahead = [pool.submit(decode, index) for index in following]
                try:
                    pixels = np.stack([future.result() for future in batch])
                except UserError:
                    for future in ahead:
                        future.cancel()
                    raise
                result[start : start + len(batch)] = self.encode_pixels(pixels, output=output)
        return result

    def encode_pixels(self, pixels: NDArray[np.uint8], *, output: Output = "embeddings") -> FloatArray:
        """Return the embeddings of decoded images, uint8 [n, size, size, 3], as one batch: float32 [n, dim]."""
        values = normalise(pixels, self.manifest.image)
        return self._run(self._image_session, {"pixel_values": values}, output)

    def embed_texts(
        self, texts: Sequence[str], *, batch_size: int = BATCH_SIZE, output: Output = "embeddings"
    ) -> FloatArray:
        """Return the embeddings of texts, float32 [n, dim]. Texts longer than the context are truncated.

        Raises:
            UserError: a text is not a string, or has more than 100,000 characters; the message names its index.
        """
        tokens = self._text_encoder.encode(texts)
        order = sorted(range(len(tokens)), key=lambda index: len(tokens[index]))  # little padding within a batch
        result = np.empty((len(tokens), self.dim), np.float32)
        for start in range(0, len(order), _positive(batch_size)):
            rows = order[start : start + batch_size]
            ids = self._text_encoder.pad([tokens[row] for row in rows])
            result[rows] = self._run(self._text_session, {"input_ids": ids}, output)
        return result

    def embed_classes(self, classes: Sequence[str], templates: Sequence[str] = (TEMPLATE,)) -> FloatArray:
        """Return one embedding for each class, float32 [classes, dim]: the mean over the templates, normalised.

        Args:
            templates: texts with `{}` where the class name goes.

        Raises:
            UserError: there are fewer than two classes, a class is empty or repeated, or a template has no `{}`.
        """
        classes, templates = list(classes), list(templates) or [TEMPLATE]
        if len(classes) < 2:
            raise UserError(f"classification needs at least two classes, not {len(classes)}")
        if empty := [name for name in classes if not isinstance(name, str) or not name.strip()]:
            raise UserError(f"{empty[0]!r} is not the name of a class")
        if repeated := sorted(name for name, number in Counter(classes).items() if number > 1):
            raise UserError(f"the class {repeated[0]!r} is named twice")
        if wrong := [template for template in templates if "{}" not in template]:
            raise UserError(f"the template {wrong[0]!r} has no {{}} for the class name")
        texts = [template.replace("{}", name) for name in classes for template in templates]
        vectors = self.embed_texts(texts).reshape(len(classes), len(templates), self.dim).mean(axis=1)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def class_probabilities(self, images: FloatArray, classes: FloatArray) -> FloatArray:
        """Return the probability of each class for each image, float32 [images, classes]; each row sums to 1.

        Args:
            images: embeddings of images. classes: from `embed_classes`.
        """
        logits = self.manifest.logit_scale * (images.astype(np.float64) @ classes.T.astype(np.float64))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True)) if len(logits) else logits
        return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def _text_encoder(self) -> TextEncoder:
        return TextEncoder(self._parts.tokenizer(), self.manifest.text)

    @cached_property
    def _image_session(self) -> onnxruntime.InferenceSession:
        return self._open(IMAGE_GRAPH)

    @cached_property
    def _text_session(self) -> onnxruntime.InferenceSession:
        return self._open(TEXT_GRAPH)

    def _open(self, name: str) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self._num_threads or 0
        graph = self._parts.graph(name)
        if weights := self._parts.weights(name):
            values = [onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(w)) for w in weights.values()]
            options.add_external_initializers(list(weights), values)
        try:
            source = graph if isinstance(graph, bytes) else str(graph)
            return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has many error classes
            where = graph if isinstance(graph, Path) else name
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{where}: onnxruntime cannot load it ({reason}); export the model again") from error

    def _run(self, session: onnxruntime.InferenceSession, inputs: dict[str, Any], output: Output) -> FloatArray:
        (result,) = session.run([output], inputs)
        return np.asarray(result, np.float32)


def _positive(batch_size: int) -> int:
    if batch_size < 1:
        raise UserError(f"batch_size must be at least 1, not {batch_size}")
    return batch_size
