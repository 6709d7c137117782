"""The parity gate of exports, on embeddings with known angles."""

import math

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.export.parity import NUM_DRAWN, Parity, ParityInputs, drawn_inputs, require_parity
from fclip.images.pixels import read_image

INPUTS = ParityInputs(images=[b""] * 5, texts=["red dress", "blue coat"], class_names=["dress", "coat", "shoe"])
DIMENSION = 16


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, DIMENSION)).astype(np.float32)


@pytest.fixture
def texts() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(5, DIMENSION)).astype(np.float32)


def turned(rows: np.ndarray, index: int, cosine: float) -> np.ndarray:
    """Return the rows, with one of them turned so that it has this cosine with the original."""
    row = rows[index].astype(np.float64)
    other = np.random.default_rng(2).normal(size=DIMENSION)
    other -= other @ row / (row @ row) * row
    other *= np.linalg.norm(row) / np.linalg.norm(other)
    changed = rows.astype(np.float64)
    changed[index] = cosine * row + math.sqrt(1 - cosine**2) * other
    return changed.astype(np.float32)


def require(images: np.ndarray, texts: np.ndarray, other_images: np.ndarray, other_texts: np.ndarray) -> Parity:
    return require_parity(images, texts, other_images, other_texts, INPUTS, export="the model")


def test_lengths_do_not_matter_and_the_report_has_the_lowest_cosines(images: np.ndarray, texts: np.ndarray) -> None:
    parity = require(images, texts, 3 * turned(images, 4, 0.99995), turned(texts, 1, 0.99999) / 2)
    assert (parity.num_images, parity.num_texts, parity.num_tied_decisions) == (5, 5, 0)
    assert parity.min_image_cosine == pytest.approx(0.99995, abs=1e-6)
    assert parity.min_text_cosine == pytest.approx(0.99999, abs=1e-6)


def test_one_different_image_is_refused_and_named(images: np.ndarray, texts: np.ndarray) -> None:
    message = r"the model: .* for 2 of 5 images and 0 of 5 texts. The worst is image 3 with a cosine of 0.999[67]\d*;"
    with pytest.raises(UserError, match=message):
        require(images, texts, turned(turned(images, 3, 0.9997), 1, 0.99985), texts)


@pytest.mark.parametrize(("index", "name"), [(0, "'red dress'"), (3, "'a photo of a coat'")])
def test_one_different_text_is_refused_and_named(images: np.ndarray, texts: np.ndarray, index: int, name: str) -> None:
    with pytest.raises(
        UserError, match=f"0 of 5 images and 1 of 5 texts. The worst is text {name} with a cosine of 0.9"
    ):
        require(images, texts, images, turned(texts, index, 0.9998))


@pytest.mark.parametrize("values", [[np.nan] * DIMENSION, [np.inf] * DIMENSION, [0.0] * DIMENSION])
@pytest.mark.parametrize("of_export", [False, True])
def test_unusable_embeddings_are_refused(
    images: np.ndarray, texts: np.ndarray, values: list[float], of_export: bool
) -> None:
    broken = images.copy()
    broken[2] = values
    with pytest.raises(UserError, match=r"the embedding of image 2 is zero or not finite, as are 1 of 5"):
        require(*((images, texts, broken, texts) if of_export else (broken, texts, images, texts)))


def decided(gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, texts, and other images that prefer the second class where the first one leads by `gap`."""
    texts = np.eye(5, DIMENSION, dtype=np.float32)  # the classes are rows 2, 3 and 4
    images = np.repeat(texts[4:5], 5, axis=0)
    length = math.sqrt(0.5)
    images[1, 2:5] = length + gap / 2, length - gap / 2, 0
    others = images.copy()
    others[1, 2:5] = length - gap / 2, length + gap / 2, 0
    return images, texts, others


def test_only_ties_may_be_decided_differently() -> None:
    images, texts, others = decided(5e-5)
    assert require(images, texts, others, texts).num_tied_decisions == 1
    images, texts, others = decided(5e-4)
    with pytest.raises(
        UserError, match=r"another class than the pipeline for 1 of 5 images. .*image 1: `coat` instead of"
    ):
        require(images, texts, others, texts)


def test_something_must_be_compared(images: np.ndarray, texts: np.ndarray) -> None:
    nothing = ParityInputs(images=[], texts=[], class_names=[])
    with pytest.raises(UserError, match="nothing to compare"):
        require_parity(images[:0], texts[:0], images[:0], texts[:0], nothing, export="the model")


def test_the_drawn_inputs_are_equal_each_time_and_half_of_the_images_are_portraits() -> None:
    inputs = drawn_inputs()
    assert inputs == drawn_inputs()
    assert len(inputs.images) == len(set(inputs.images)) == len(inputs.texts) == NUM_DRAWN
    assert len(set(inputs.texts)) > NUM_DRAWN * 0.9
    sizes = [read_image(content).size for content in inputs.images]
    assert sizes.count((224, 224)) == sizes.count((168, 224)) == NUM_DRAWN // 2
