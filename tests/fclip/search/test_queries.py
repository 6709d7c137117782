"""Queries by text, image and both, in a catalog of coloured pictures that fclip-tiny embedded."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fclip.errors import UserError
from fclip.runtime.loading import load
from fclip.runtime.model import Model
from fclip.search.build import CatalogEmbeddings
from fclip.search.catalog import Product
from fclip.search.index import Index
from fclip.search.query import NEGATIVE_WEIGHT, Query, embed_queries
from tests.fclip.search.conftest import publish, sources

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 40, 200), "yellow": (230, 220, 40)}


def picture(colour: str, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(-20, 21, (8, 8, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((64, 64))


@pytest.fixture(scope="session")
def model() -> Model:
    return load("fclip-tiny")


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory, model: Model) -> Index:
    """The index of 40 pictures, ten of each colour; product `red-3` is titled "a red 3"."""
    root = tmp_path_factory.mktemp("colours")
    names = [(colour, number) for number in range(10) for colour in COLOURS]
    vectors = model.embed_images([picture(colour, number) for colour, number in names])
    products = [Product("shop", f"{c}-{n}", f"a {c} {n}", {"colour": c, "score": "attribute"}) for c, n in names]
    digests = [f"{number:064x}" for number in range(len(names))]
    content = CatalogEmbeddings(products, np.arange(40, dtype=np.int32), digests, vectors, vectors)
    published, _ = publish(root, content, of=sources(model.manifest.model_sha256))
    return Index(published, "champion", published.pointer("champion").current, model=model)


def test_image_finds_its_colour_from_every_kind_of_input(colours: Index, tmp_path: Path) -> None:
    image = picture("blue", 99)
    image.save(tmp_path / "blue.png")
    inputs = [image, tmp_path / "blue.png", (tmp_path / "blue.png").read_bytes(), np.array(image)]
    frames = [colours.search(image=one, k=5) for one in inputs]
    assert set(frames[0]["colour"]) == {"blue"}
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame, frames[0])


def test_frame_has_scores_and_attributes(colours: Index) -> None:
    frame = colours.search(text="a red picture", k=4)
    assert list(frame.columns) == [
        *("product_id", "dataset", "score", "similarity", "title", "image_sha256"),
        *("colour",),  # the attribute `score` would replace the score, and `dataset` is there already
    ]
    assert frame["score"].is_monotonic_decreasing
    assert (frame["score"] == frame["similarity"]).all()
    empty = colours.search(text="a red picture", filters={"colour": "red"}, k=100)
    assert len(empty) == 10


def test_many_queries_are_numbered_and_paired(colours: Index) -> None:
    images = [picture("red", 50), picture("green", 50)]
    frame = colours.search(image=images, k=3)
    assert list(frame["query"]) == [0, 0, 0, 1, 1, 1]
    assert list(frame["colour"]) == ["red"] * 3 + ["green"] * 3
    with_text = colours.search(text="a picture", image=images, image_weight=0.9, k=3)
    for number, image in enumerate(images):
        one = colours.search(text="a picture", image=image, image_weight=0.9, k=3)
        part = with_text[with_text["query"] == number].drop(columns="query").reset_index(drop=True)
        pd.testing.assert_frame_equal(part, one, atol=1e-5)
    with pytest.raises(UserError, match="3 texts and 2 images cannot be paired"):
        colours.search(text=["a", "b", "c"], image=images)


def test_vector_of_a_query_is_the_weighted_sum_of_its_parts(model: Model) -> None:
    image = picture("red", 1)
    text, negative = model.embed_texts(["red", "blue"])
    (seen,) = model.embed_images([image])
    for weight in (0.0, 0.3, 1.0):
        (vector,) = embed_queries([Query(text="red", image=image, negative="blue", image_weight=weight)], model)
        expected = (1 - weight) * text + weight * seen - NEGATIVE_WEIGHT * negative
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)
    alone, _ = embed_queries([Query(image=image, image_weight=0.1), Query(text="red")], model)
    np.testing.assert_allclose(alone, seen, atol=1e-5)  # the weight has no meaning without a text


def test_negative_text_lowers_what_matches_it(colours: Index) -> None:
    image = picture("red", 7)
    plain = colours.find([Query(image=image)], k=40)[0]
    without = colours.find([Query(image=image, negative="a red 7")], k=40)[0]
    (red,) = [hit.similarity for hit in plain if hit.product_id == "red-7"]
    assert next(hit.similarity for hit in without if hit.product_id == "red-7") < red


def test_hybrid_search_puts_products_with_the_words_first(colours: Index) -> None:
    (hits,) = colours.find([Query(text="yellow 7")], k=5, hybrid=True)
    assert hits[0].product_id == "yellow-7"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    filtered = colours.find([Query(text="yellow 7")], filters={"colour": "red"}, k=5, hybrid=True)[0]
    assert {hit.attributes["colour"] for hit in filtered} == {"red"}
    with pytest.raises(UserError, match="a hybrid search needs a text"):
        colours.find([Query(image=picture("red"))], hybrid=True)


def test_fused_scores_are_those_of_both_rankings(colours: Index) -> None:
    query = Query(text="a green 3")
    by_vector = [hit.product_id for hit in colours.find([query], k=40)[0]]
    by_words = [colours.catalog.products([n])[n].product_id for n in colours.catalog.word_ranking("a green 3").tolist()]
    for hit in colours.find([query], k=40, hybrid=True)[0]:
        rankings = (by_vector, by_words)
        expected = sum(1 / (61 + ranking.index(hit.product_id)) for ranking in rankings if hit.product_id in ranking)
        assert hit.score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({}, "needs a text or an image"),
        ({"negative": "red"}, "needs a text or an image besides a negative text"),
        ({"text": ""}, "the text of the query is empty"),
        ({"text": " \n"}, "the text of the query is empty"),
        ({"text": "red", "negative": ""}, "the negative text of the query is empty"),
        ({"text": "red", "image_weight": 1.5}, "from 0 to 1, not 1.5"),
        ({"text": "red", "image_weight": float("nan")}, "from 0 to 1"),
        ({"image": b"no image"}, "not an image of a known format"),
        ({"image": "absent.jpg"}, r"absent.jpg cannot be read"),
        ({"text": "red", "image": "absent.jpg"}, r"absent.jpg cannot be read"),
    ],
)
def test_bad_queries_are_refused(colours: Index, query: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        colours.search(**query)


def test_another_model_cannot_search_the_index(colours: Index, exact_root: Path, model: Model) -> None:
    other = Index.open(exact_root)
    with pytest.raises(UserError, match="use the model of the index"):
        Index(other._published, "champion", other.publication, model=model)
    with pytest.raises(UserError, match="the model of the index, does not exist"):
        other.search(text="red")
