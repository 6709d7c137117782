"""The drawn catalog: determinism, the two domains, article types, and images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from fclip.sample.catalog import SampleProduct, draw_product, draw_products
from fclip.sample.products import ARTICLE_TYPES, SHADES, make_product


@pytest.fixture(scope="module")
def studio() -> list[SampleProduct]:
    return list(draw_products("studio", num_products=60, seed=0))


@pytest.fixture(scope="module")
def street() -> list[SampleProduct]:
    return list(draw_products("street", num_products=60, seed=0))


def pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), dtype=np.float32)


def border(image: bytes) -> np.ndarray:
    """The pixels along the four edges, [n, 3]."""
    array = pixels(image)
    return np.concatenate([array[:3].reshape(-1, 3), array[-3:].reshape(-1, 3), array[:, :3].reshape(-1, 3)])


@pytest.mark.parametrize("domain", ["studio", "street"])
def test_same_seed_gives_the_same_bytes_and_a_larger_number_extends_a_smaller_one(domain: str) -> None:
    short = list(draw_products(domain, num_products=5, seed=7))  # type: ignore[arg-type]
    longer = list(draw_products(domain, num_products=9, seed=7))  # type: ignore[arg-type]
    assert longer[:5] == short
    assert len({product.product_id for product in longer}) == 9


def test_product_does_not_depend_on_previous_products(studio: list[SampleProduct]) -> None:
    assert draw_product("studio", 40, seed=0) == studio[40]


def test_other_seed_or_domain_gives_another_catalog(studio: list[SampleProduct], street: list[SampleProduct]) -> None:
    other = list(draw_products("studio", num_products=5, seed=1))
    assert all(a.images != b.images for a, b in zip(studio, other, strict=False))
    assert not {p.product_id for p in studio} & {p.product_id for p in street}
    assert [p.attributes for p in studio] != [p.attributes for p in street]


def test_images_are_jpegs_of_the_requested_size(studio: list[SampleProduct], street: list[SampleProduct]) -> None:
    for product in [*studio, *street]:
        for data in product.images:
            image = Image.open(io.BytesIO(data))
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (224, 224))
    small = next(draw_products("street", num_products=1, seed=0, side=96))
    assert Image.open(io.BytesIO(small.images[0])).size == (96, 96)


def test_domains_differ_in_their_backgrounds(studio: list[SampleProduct], street: list[SampleProduct]) -> None:
    studio_borders = [border(product.images[0]) for product in studio]
    street_borders = [border(product.images[0]) for product in street]
    assert min(np.median(b) for b in studio_borders) > 230
    assert np.mean([np.median(b) < 200 for b in street_borders]) > 0.8
    assert np.median([b.std() for b in street_borders]) > 4 * np.median([b.std() for b in studio_borders])


def test_no_image_is_blank(studio: list[SampleProduct]) -> None:
    for product in studio:
        array = pixels(product.images[0])
        background = np.median(border(product.images[0]), axis=0)
        assert (np.abs(array - background).max(axis=2) > 12).mean() > 0.04, product.product_id


def test_every_article_type_and_colour_is_among_the_first_300() -> None:
    for domain in ("studio", "street"):
        products = [make_product(domain, index, seed=0) for index in range(300)]
        assert {p.attributes["article_type"] for p in products} == set(ARTICLE_TYPES)
        assert {p.attributes["colour"] for p in products} == set(SHADES)
        assert len({p.attributes["pattern"] for p in products}) >= 6
    assert len(ARTICLE_TYPES) >= 14
    assert len(SHADES) >= 10


@pytest.mark.parametrize("article_type", ARTICLE_TYPES)
def test_every_type_can_be_drawn_in_both_domains(article_type: str) -> None:
    for domain in ("studio", "street"):
        index = next(
            i for i in range(1000) if make_product(domain, i, seed=0).attributes["article_type"] == article_type
        )
        product = draw_product(domain, index, seed=0)  # type: ignore[arg-type]
        assert product.attributes["article_type"] == article_type
        assert pixels(product.images[0]).std() > 5


def test_some_products_have_two_images(studio: list[SampleProduct], street: list[SampleProduct]) -> None:
    twice = [product for product in [*studio, *street] if len(product.images) == 2]
    assert 0.04 < len(twice) / 120 < 0.25
    assert all(product.images[0] != product.images[1] for product in twice)


def test_unknown_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="domain must be one of studio, street"):
        draw_products("attic", num_products=1, seed=0)  # type: ignore[arg-type]
