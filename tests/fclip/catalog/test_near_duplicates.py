"""Near-duplicates equal those of a comparison of all pairs, and a re-encoded photograph is one."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fclip.catalog.config import DuplicateConfig
from fclip.catalog.duplicates import Appearances, distinct_appearances, near_duplicates
from fclip.catalog.fingerprints import Fingerprints, fingerprint, reduce_pixels
from fclip.catalog.images import NormalisedImage, normalise_image
from tests.fclip.catalog.catalog_shop import IMAGE

CONFIG = DuplicateConfig(max_hash_distance=6, max_difference=0.06)


def naive(appearances: Appearances, config: DuplicateConfig) -> set[tuple[int, int]]:
    """Compare every pair by the definition."""
    pixels = appearances.thumbnail.reshape(-1, 64, 3).astype(float)
    ink = [np.abs(each - np.median(each, axis=0)).mean() for each in pixels]
    found = set()
    for j in range(len(pixels)):
        for i in range(j):
            bits = bin(int(appearances.phash[i]) ^ int(appearances.phash[j])).count("1")
            allowed = config.max_difference * max(1.0, min(ink[i], ink[j]))
            if bits <= config.max_hash_distance and np.abs(pixels[i] - pixels[j]).mean() <= allowed:
                found.add((i, j))
    return found


def crowd(seed: int, size: int, spread: int) -> Appearances:
    """Return appearances around a few hashes and thumbnails, with many pairs near the limits."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, 3, dtype=np.uint64)
    pictures = rng.integers(0, 256, (3, 192))
    centre = rng.integers(0, 3, size)
    phash = centres[centre].copy()
    for place in range(size):
        for bit in rng.choice(64, rng.integers(0, 7), replace=False):
            phash[place] ^= np.uint64(1) << np.uint64(bit)
    noise = rng.integers(-spread, spread + 1, (size, 192))
    thumbnail = np.clip(pictures[centre] + noise, 0, 255).astype(np.uint8)
    return distinct_appearances(phash, thumbnail)[0]


@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 12), st.integers(0, 7), st.floats(0, 0.2))
@settings(max_examples=60, deadline=None)
def test_near_duplicates_equal_those_of_all_pairs(
    seed: int, size: int, spread: int, bits: int, difference: float
) -> None:
    appearances = crowd(seed, size, spread)
    config = DuplicateConfig(max_hash_distance=bits, max_difference=difference)
    pairs = near_duplicates(appearances, config)
    assert len(pairs) == len({tuple(pair) for pair in pairs.tolist()})
    assert {tuple(pair) for pair in pairs.tolist()} == naive(appearances, config)


@given(st.integers(0, 2**32), st.integers(1, 60), st.data())
@settings(max_examples=40, deadline=None)
def test_only_pairs_with_a_new_image_are_returned(seed: int, size: int, data: st.DataObject) -> None:
    appearances = crowd(seed, size, 4)
    first_new = data.draw(st.integers(0, len(appearances.phash)))
    old = near_duplicates(Appearances(appearances.phash[:first_new], appearances.thumbnail[:first_new]), CONFIG)
    new = near_duplicates(appearances, CONFIG, first_new=first_new)
    assert {tuple(pair) for pair in [*old.tolist(), *new.tolist()]} == naive(appearances, CONFIG)
    assert all(j >= first_new for _, j in new.tolist())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_distinct_appearances_keep_the_order_of_first_occurrence(images: list[tuple[int, int]]) -> None:
    phash = np.array([each for each, _ in images], np.uint64)
    thumbnail = np.array([[each] * 192 for _, each in images], np.uint8).reshape(-1, 192)
    appearances, appearance_of = distinct_appearances(phash, thumbnail)
    seen = list(dict.fromkeys(images))
    assert [(int(h), int(t[0])) for h, t in zip(appearances.phash, appearances.thumbnail, strict=True)] == seen
    assert appearance_of.tolist() == [seen.index(each) for each in images]


def photograph(seed: int, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """Return a picture of soft shapes on a soft background."""
    rng = np.random.default_rng(seed)
    background = Image.fromarray(rng.integers(60, 200, (5, 4, 3), dtype=np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(background)
    for _ in range(6):
        x, y = int(rng.integers(0, size[0])), int(rng.integers(0, size[1]))
        r = int(rng.integers(20, 90))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    return background


def prints(images: list[Image.Image]) -> Fingerprints:
    return fingerprint([reduce_pixels(np.asarray(image).reshape(image.height, image.width, -1)) for image in images])


def reencoded(image: Image.Image, quality: int, scale: float = 1.0) -> Image.Image:
    buffer = io.BytesIO()
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


@pytest.mark.parametrize(("quality", "scale"), [(95, 1.0), (50, 1.0), (80, 0.5), (90, 2.0), (60, 0.4)])
def test_only_reencoded_and_resized_photographs_are_near_duplicates(quality: int, scale: float) -> None:
    photographs = [photograph(seed) for seed in range(20)]
    both = prints([*photographs, *(reencoded(image, quality, scale) for image in photographs)])
    pairs = near_duplicates(Appearances(both.phash, both.thumbnail), CONFIG)
    assert pairs.tolist() == [[seed, seed + 20] for seed in range(20)]


def test_statistics_of_plain_pictures() -> None:
    half = Image.new("RGB", (64, 64), "white")
    half.paste((255, 0, 0), (0, 0, 32, 64))
    found = prints([Image.new("RGB", (40, 30), "white"), Image.new("L", (30, 40), 0), half])
    assert found.brightness == pytest.approx([1, 0, (1 + 76 / 255) / 2], abs=0.01)
    assert found.contrast == pytest.approx([0, 0, (1 - 76 / 255) / 2], abs=0.02)
    assert found.saturation == pytest.approx([0, 0, 0.5], abs=0.02)
    assert found.white_border == pytest.approx([1, 0, 0.5], abs=0.04)


def dct_hash(pixels: NDArray[np.float64]) -> int:
    """The hash by its definition: an unnormalised 2-d DCT-II, with explicit sums."""
    side = len(pixels)
    angle = np.pi * np.arange(8)[:, None] * (2 * np.arange(side)[None] + 1) / (2 * side)
    scale = np.sqrt(np.where(np.arange(8) == 0, 1 / side, 2 / side))
    frequencies = [
        scale[u]
        * scale[v]
        * sum(pixels[y, x] * np.cos(angle[u, y]) * np.cos(angle[v, x]) for y in range(side) for x in range(side))
        for u in range(8)
        for v in range(8)
    ]
    middle = np.median(frequencies[1:])
    return sum(1 << (63 - place) for place, value in enumerate(frequencies) if value > middle)


def test_hash_equals_the_reference_dct_hash() -> None:
    image = photograph(3, (32, 32))  # no resizing, so that only the hash is tested
    pixels = np.asarray(image.convert("L"), np.float64)
    assert int(prints([image]).phash[0]) == dct_hash(pixels)


def test_fingerprints_describe_the_stored_image() -> None:
    buffer = io.BytesIO()
    photograph(1).save(buffer, "PNG")
    normal = normalise_image(buffer.getvalue(), IMAGE)
    assert isinstance(normal, NormalisedImage)
    stored = Image.open(io.BytesIO(normal.stored.content))
    found = prints([stored]), fingerprint([normal.reduction])
    assert int(np.bitwise_count(found[0].phash ^ found[1].phash)[0]) <= 2
    assert (normal.source_width, normal.source_height) == (300, 400)
