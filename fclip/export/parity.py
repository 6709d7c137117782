"""The parity gate of exports: an export must give the embeddings and the zero-shot decisions of the pipeline.

An exporter computes the pipeline's embeddings (`pipeline_embeddings`) and those of the exported files in the way that
their reader computes them. `require_parity` compares them, and an export that fails is not written.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fclip.errors import UserError
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import FloatArray
from fclip.images.pixels import decode
from fclip.models.store import Clip
from fclip.sample.catalog import draw_products
from fclip.sample.products import ARTICLE_TYPES

MIN_COSINE = 1 - 1e-4
TIE = 1e-4  # of cosine similarity
NUM_DRAWN = 256
PORTRAIT = (168, 224)  # pixels; the drawn photographs are square, and those of most shops are not


@dataclass(frozen=True)
class ParityInputs:
    """What the embeddings of an export are compared on.

    Attributes:
        images: encoded images, such as JPEG files.
        class_names, template: the classes of the zero-shot decisions; `{}` in the template stands for the name.
    """

    images: Sequence[bytes]
    texts: Sequence[str]
    class_names: Sequence[str]
    template: str = "a photo of a {}"

    @property
    def all_texts(self) -> list[str]:
        """The texts, and after them the text of each class."""
        return [*self.texts, *(self.template.format(name) for name in self.class_names)]


@dataclass(frozen=True)
class Parity:
    """A passed comparison of an export with the pipeline.

    Attributes:
        num_images, num_texts: the numbers of compared items; the texts include those of the classes.
        min_image_cosine, min_text_cosine: the lowest cosine of an item's two embeddings.
        num_tied_decisions: number of images with another zero-shot class, whose two classes are tied in the pipeline.
        num_images_left_out: number of images that were not compared, because the reader of the export crops them one
            pixel away from the pipeline.
    """

    num_images: int
    num_texts: int
    min_image_cosine: float
    min_text_cosine: float
    num_tied_decisions: int
    num_images_left_out: int = 0


def drawn_inputs() -> ParityInputs:
    """Return 256 drawn photographs, half of them portraits, and 256 texts of their products. They are always equal."""
    half = NUM_DRAWN // 2
    products = [
        *draw_products("studio", num_products=half, seed=0),
        *draw_products("street", num_products=half, seed=0),
    ]
    images = [product.images[0] for product in products]
    return ParityInputs(
        images=[_portrait(image) if index % 2 else image for index, image in enumerate(images)],
        # Titles, highlights and descriptions in turn: short and long texts.
        texts=[list(product.texts.values())[index % 3] for index, product in enumerate(products)],
        class_names=list(ARTICLE_TYPES),
    )


def _portrait(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        left = (image.width - PORTRAIT[0]) // 2
        image.crop((left, 0, left + PORTRAIT[0], PORTRAIT[1])).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def pipeline_embeddings(clip: Clip, inputs: ParityInputs) -> tuple[FloatArray, FloatArray]:
    """Return the pipeline's embeddings of the images and of `all_texts`: float32 [n, d], not normalised.

    Raises:
        UserError: an image cannot be decoded.
    """
    pixels = np.stack([decode(content, clip.preprocess) for content in inputs.images])
    return encode_images(clip, pixels), encode_texts(clip, inputs.all_texts)


def require_parity(
    reference_images: FloatArray,
    reference_texts: FloatArray,
    images: FloatArray,
    texts: FloatArray,
    inputs: ParityInputs,
    *,
    export: str,
) -> Parity:
    """Require that every embedding has a cosine of at least `MIN_COSINE` with the pipeline's, and equal decisions.

    The zero-shot decision of an image is the class with the most similar text. Another class is accepted if the
    pipeline's similarities of both differ by less than `TIE`.

    Args:
        reference_images, reference_texts: the pipeline's embeddings of `inputs.images` and `inputs.all_texts`, [n, d].
        images, texts: the embeddings of the export, of the same shapes. No embedding needs to be normalised.
        export: what is exported in which format, for the messages.

    Raises:
        UserError: an embedding or a decision differs, or an embedding is not finite.
    """
    if not (inputs.images and inputs.texts and inputs.class_names):
        raise UserError(f"{export}: nothing to compare the embeddings on; give images, texts and class names")
    all_texts = inputs.all_texts
    image_names = [f"image {number}" for number in range(len(inputs.images))]
    text_names = [f"text {text[:80]!r}" for text in all_texts]
    ours, theirs = _normalise(reference_images, image_names, export), _normalise(images, image_names, export)
    our_texts, their_texts = _normalise(reference_texts, text_names, export), _normalise(texts, text_names, export)
    image_cosines, text_cosines = (ours * theirs).sum(axis=1), (our_texts * their_texts).sum(axis=1)
    cosines = np.concatenate([image_cosines, text_cosines])
    worst = int(cosines.argmin())
    if cosines[worst] < MIN_COSINE:
        raise UserError(
            f"{export}: the exported model gives other embeddings than the pipeline for "
            f"{int((image_cosines < MIN_COSINE).sum())} of {len(image_cosines)} images and "
            f"{int((text_cosines < MIN_COSINE).sum())} of {len(text_cosines)} texts. The worst is "
            f"{[*image_names, *text_names][worst]} with a cosine of {cosines[worst]:.6f}; at least {MIN_COSINE} is "
            "required. Nothing was written; use another format"
        )
    num_classes = len(inputs.class_names)
    scores = ours @ our_texts[-num_classes:].T
    expected, found = scores.argmax(axis=1), (theirs @ their_texts[-num_classes:].T).argmax(axis=1)
    rows = np.arange(len(scores))
    differences = scores[rows, expected] - scores[rows, found]
    worst = int(differences.argmax())
    if differences[worst] >= TIE:
        raise UserError(
            f"{export}: the exported model decides for another class than the pipeline for "
            f"{int((differences >= TIE).sum())} of {len(scores)} images. The worst is {image_names[worst]}: "
            f"`{inputs.class_names[found[worst]]}` instead of `{inputs.class_names[expected[worst]]}`. Nothing was "
            "written; use another format"
        )
    return Parity(
        num_images=len(image_cosines),
        num_texts=len(text_cosines),
        min_image_cosine=float(image_cosines.min()),
        min_text_cosine=float(text_cosines.min()),
        num_tied_decisions=int((expected != found).sum()),
    )


def _normalise(embeddings: FloatArray, names: Sequence[str], export: str) -> np.ndarray:
    """Return rows of length 1 in float64; raises UserError for a row that is zero or not finite."""
    assert len(embeddings) == len(names), (embeddings.shape, len(names))
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if len(unusable := np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))):
        raise UserError(
            f"{export}: the embedding of {names[unusable[0]]} is zero or not finite, as are {len(unusable)} of "
            f"{len(names)} embeddings of this kind; the model's weights are damaged. Nothing was written"
        )
    return embeddings.astype(np.float64) / norms[:, None]
