"""The API of the package `fashion-clip` (0.2.2) on the runtime: change the import line, and keep the code.

    from fclip import FashionCLIP, FCLIPDataset

    fclip = FashionCLIP("fashion-clip")
    image_features = fclip.encode_images(["shoe.jpg"], batch_size=32)
    text_features = fclip.encode_text(["a red shoe"], batch_size=32)

Names, arguments, results and their shapes are those of the package. Search is always exact.
"""

import hashlib
import secrets
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fclip.errors import UserError
from fclip.export.runtime_folder import runtime_folder
from fclip.runtime import load
from fclip.runtime.images import ImageInput, read_rgb_pixels
from fclip.runtime.model import FloatArray

REQUIRED = ("id", "image", "caption")
DATASET_BATCH, QUERY_BATCH = 32, 8


class FCLIPDataset:
    """A catalog of products with one image and one caption each.

    Attributes:
        ids, images, captions: one string for each row of the catalog.
        images_path: paths of the images.
        catalog: the rows.
        id_to_idx: id -> number of the row.
    """

    def __init__(
        self,
        name: str,
        image_source_path: str,
        image_source_type: str,
        catalog: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Args:
            image_source_path: folder that the images are relative to.
            image_source_type: "local".
            catalog: rows with `id`, `image` and `caption`, and any other fields.

        Raises:
            UserError: the images are not local, there is no catalog, or a row lacks a field.
        """
        if image_source_type.lower() != "local":
            raise UserError(f"images of type {image_source_type!r} are not supported; download them, and use 'local'")
        if catalog is None:
            raise UserError(f"there is no published catalog {name!r}; give the rows as `catalog`")
        for number, row in enumerate(catalog):
            if missing := [field for field in REQUIRED if field not in row]:
                raise UserError(f"row {number} of the catalog {name!r} has no {missing[0]!r}")
        self.name = name
        self.catalog = np.array(catalog, dtype=object)
        self.ids = np.array([str(row["id"]) for row in catalog])
        self.images = np.array([str(row["image"]) for row in catalog])
        self.images_path = np.array([str(Path(image_source_path) / str(row["image"])) for row in catalog])
        self.captions = np.array([str(row["caption"]) for row in catalog])
        self.id_to_idx = {product_id: index for index, product_id in enumerate(self.ids.tolist())}

    def display_products(
        self,
        ids: Sequence[str],
        fields: Sequence[str] = ("id", "short_description"),
        *,
        columns: int = 5,
        width: float = 20,
        height: float = 8,
        max_images: int = 15,
        font_size: float = 8,
        text_wrap_length: int = 35,
    ) -> Any:
        """Return a matplotlib figure with the images of products, and these fields of their rows below.

        Args:
            width, height: of the figure and of one row of images, in inches.

        Raises:
            UserError: matplotlib is not installed, or there is no such product or field.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise UserError("display_products needs matplotlib; run `pip install matplotlib`") from error
        rows = [self._index(str(product_id)) for product_id in np.ravel(np.asarray(ids))[:max_images]]
        for field in fields:
            if missing := [row for row in rows if field not in self.catalog[row]]:
                raise UserError(f"product {self.ids[missing[0]]} has no field {field!r}; choose others with `fields`")
        num_lines = max(1, -(-len(rows) // columns))
        figure = pyplot.figure(figsize=(width, height * num_lines))
        for number, row in enumerate(rows):
            axes = figure.add_subplot(num_lines, columns, number + 1)
            axes.set_axis_off()
            with Image.open(self.images_path[row]) as image:
                axes.imshow(image.convert("RGB"))
            words = [textwrap.fill(str(self.catalog[row][field]), text_wrap_length) for field in fields]
            axes.text(0, -0.1, "\n".join(words), fontsize=font_size, transform=axes.transAxes, va="top")
        figure.tight_layout(h_pad=3, w_pad=0.1)
        return figure

    def random_product_id(self) -> str:
        """Return the id of a random product."""
        if not len(self.ids):
            raise UserError(f"the catalog {self.name!r} is empty")
        return str(self.ids[secrets.randbelow(len(self.ids))])

    def hash(self) -> str:
        """Return the digest of ids, images and captions, equal to the package's."""
        return _sha256("".join(_sha256_list(values) for values in (self.ids, self.images, self.captions)))

    def _retrieve_row(self, id: str) -> Mapping[str, Any]:
        row: Mapping[str, Any] = self.catalog[self._index(id)]
        return row

    def _index(self, product_id: str) -> int:
        if product_id not in self.id_to_idx:
            raise UserError(f"the catalog {self.name!r} has no product with the id {product_id!r}")
        return self.id_to_idx[product_id]


class FashionCLIP:
    """A CLIP, and the vectors of a dataset if there is one.

    Attributes:
        image_vectors, textual_vectors: of the dataset, float32 [n, dim]; L2-normalised if `normalize`.
        model: the model in the runtime (`fclip.runtime.Model`).
        model_hash, dataset_hash, vector_hash: digests of the model, of the dataset, and both joined.
    """

    image_vectors: FloatArray
    textual_vectors: FloatArray

    def __init__(
        self,
        model_name: str,
        dataset: FCLIPDataset | None = None,
        normalize: bool = True,
        approx: bool = True,
        auth_token: str | None = None,
    ) -> None:
        """Args:
            model_name: any name that `fclip.export.runtime_folder` accepts, such as `fashion-clip` or a folder.
            dataset: is embedded at once.
            approx: only the type of what `retrieval` returns depends on it. Search is exact.
            auth_token: access token for a private model on the Hugging Face hub.

        Raises:
            UserError: there is no such model, it cannot be converted, or an image of the dataset cannot be read.
        """
        self.model_name = model_name
        self.model = load(runtime_folder(model_name, hub_token=auth_token))
        self.model_hash = self.model.manifest.model_sha256
        self.device = "cpu"
        self.approx = approx
        self.dataset = dataset
        if dataset is not None:
            self.dataset_hash = dataset.hash()
            self.vector_hash = f"{self.model_hash}_{self.dataset_hash}"
            self.image_vectors = self.encode_images(dataset.images_path, DATASET_BATCH)
            self.textual_vectors = self.encode_text(dataset.captions, DATASET_BATCH)
            if normalize:
                self.image_vectors = _unit(self.image_vectors)
                self.textual_vectors = _unit(self.textual_vectors)

    def encode_images(self, images: "Sequence[ImageInput] | NDArray[Any]", batch_size: int) -> FloatArray:
        """Return the features of images, float32 [n, dim], not normalised.

        Args:
            images: paths or Pillow images.

        Raises:
            UserError: an image cannot be read; the message names its index.
        """
        if isinstance(images, str | Path | Image.Image):
            raise UserError("images must be a list of paths or of Pillow images, not one image")
        return self.model.embed_images(list(images), batch_size=batch_size, output="features", read=read_rgb_pixels)

    def encode_text(self, text: "Sequence[str] | NDArray[Any]", batch_size: int) -> FloatArray:
        """Return the features of texts, float32 [n, dim], not normalised. Long texts are truncated."""
        texts = text if isinstance(text, str) else list(text)
        return self.model.embed_texts(texts, batch_size=batch_size, output="features")

    def zero_shot_classification(
        self, images: "Sequence[ImageInput] | NDArray[Any]", text_labels: Sequence[str], debug: bool = False
    ) -> list[str]:
        """Return the label with the highest score for each image.

        As in the package, the score is the cosine similarity times the length of the label's features. Labels by
        cosine similarity alone come from `fclip.runtime.Model.embed_classes`.

        Args:
            debug: print the scores, [images, labels].
        """
        labels = self.encode_text(text_labels, QUERY_BATCH)
        scores = self._cosine_similarity(self.encode_images(images, QUERY_BATCH), labels)
        if debug:
            print(scores)
        return [text_labels[index] for index in scores.argmax(axis=-1)]

    def retrieval(self, queries: Sequence[str], top_k: int = 10) -> "list[list[int]] | NDArray[np.intp]":
        """Return the numbers of the dataset's rows with the most similar images for each query, best first.

        Returns:
            A list of lists if `approx`, otherwise an array [queries, k]; k is `top_k`, or the number of rows if that is
            smaller.

        Raises:
            UserError: there is no dataset.
        """
        if self.dataset is None:
            raise UserError("retrieval needs a dataset; create FashionCLIP with a FCLIPDataset")
        return self._nearest_neighbours(top_k, self.encode_text(queries, QUERY_BATCH), self.image_vectors)

    def display_attention(
        self, image_path: str, query_text: str, pixel_size: int = 15, iterations: int = 5
    ) -> NoReturn:
        """Not supported: raises UserError."""
        raise UserError("display_attention is not supported; use the package fashion-clip for heat maps")

    def _cosine_similarity(
        self, key_vectors: FloatArray, space_vectors: FloatArray, normalize: bool = True
    ) -> FloatArray:
        """Return the products of all pairs, [keys, rows]. `normalize` applies to the keys only."""
        keys = np.asarray(key_vectors)
        return np.asarray((_unit(keys) if normalize else keys) @ np.asarray(space_vectors).T)

    def _nearest_neighbours(
        self,
        k: int,
        key_vectors: FloatArray,
        space_vectors: FloatArray,
        normalize: bool = True,
        debug: bool = False,
    ) -> "list[list[int]] | NDArray[np.intp]":
        """Return the rows of `space_vectors` with the largest products for each key, best first; see `retrieval`."""
        scores = self._cosine_similarity(key_vectors, space_vectors, normalize=normalize)
        nearest = np.argsort(-scores, axis=-1, kind="stable")[:, : max(k, 0)]
        return nearest.tolist() if self.approx else nearest


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _sha256_list(values: NDArray[np.str_]) -> str:
    return _sha256(" ".join(_sha256(value) for value in values.tolist()))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
