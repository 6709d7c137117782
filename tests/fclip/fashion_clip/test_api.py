"""The API of the package fashion-clip, against the same model in transformers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageOps

from fclip import FashionCLIP, FCLIPDataset
from fclip.conversion.tokens import clip_tokenizer
from fclip.errors import UserError
from fclip.features.similarity import unit
from tests.conftest import REPOSITORY
from tests.fclip.conversion.peers import image_features, text_features
from tests.fclip.fashion_clip.conftest import MEAN, STD, TEXTS, Converted

CAPTIONS = ["light red polo shirt", "a sneaker", "dark red polo shirt"]


@pytest.fixture
def dataset(images: list[str]) -> FCLIPDataset:
    rows = [
        {"id": number + 1, "image": Path(images[number]).name, "caption": caption}
        for number, caption in enumerate(CAPTIONS)
    ]
    return FCLIPDataset("shop", str(Path(images[0]).parent), "local", catalog=rows)


def reference_images(converted: Converted, images: list[str]) -> np.ndarray:
    transform: Any = open_clip.image_transform(32, is_train=False, mean=MEAN, std=STD)
    pixels = torch.stack([transform(ImageOps.exif_transpose(Image.open(path)).convert("RGB")) for path in images])
    return image_features(converted.model, pixels).numpy()


def with_dataset(converted: Converted, dataset: FCLIPDataset, **options: bool) -> FashionCLIP:
    return FashionCLIP(str(converted.folder), dataset, **options)


def test_image_features_equal_transformers(converted: Converted, images: list[str]) -> None:
    features = converted.fclip.encode_images(images, batch_size=3)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, reference_images(converted, images), atol=1e-4, rtol=0)


def test_pillow_images_and_arrays_of_paths_give_the_same_features(converted: Converted, images: list[str]) -> None:
    upright = images[:6]
    expected = converted.fclip.encode_images(upright, batch_size=32)
    opened = [Image.open(path) for path in upright]
    np.testing.assert_allclose(converted.fclip.encode_images(opened, batch_size=2), expected, atol=1e-5)
    np.testing.assert_allclose(converted.fclip.encode_images(np.array(upright), batch_size=4), expected, atol=1e-5)


def test_text_features_equal_transformers(converted: Converted) -> None:
    features = converted.fclip.encode_text(TEXTS, batch_size=3)
    assert features.dtype == np.float32
    expected = text_features(converted.model, clip_tokenizer(77), TEXTS).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(converted.fclip.encode_text(np.array(TEXTS), batch_size=32), expected, atol=1e-4)


def test_zero_shot_classification_takes_the_highest_score(converted: Converted, images: list[str]) -> None:
    labels = converted.fclip.zero_shot_classification(images, TEXTS)
    texts = text_features(converted.model, clip_tokenizer(77), TEXTS).numpy()
    expected = (unit(reference_images(converted, images)) @ texts.T).argmax(axis=1)
    assert labels == [TEXTS[index] for index in expected]


@pytest.mark.parametrize("approx", [True, False])
def test_retrieval_ranks_the_images_of_the_dataset(converted: Converted, dataset: FCLIPDataset, approx: bool) -> None:
    fclip = with_dataset(converted, dataset, approx=approx)
    found = fclip.retrieval(TEXTS[:2], top_k=2)
    texts = text_features(converted.model, clip_tokenizer(77), TEXTS[:2]).numpy()
    images = unit(reference_images(converted, list(dataset.images_path)))
    expected = np.argsort(-texts @ images.T, axis=1)[:, :2]
    assert isinstance(found, list if approx else np.ndarray)
    np.testing.assert_array_equal(found, expected)
    assert np.shape(fclip.retrieval(["shirt"])) == (1, 3)  # fewer rows than the default of 10
    assert np.shape(fclip.retrieval(["shirt"], top_k=0)) == (1, 0)


def test_vectors_of_the_dataset_are_normalised_unless_disabled(converted: Converted, dataset: FCLIPDataset) -> None:
    normalised, raw = with_dataset(converted, dataset), with_dataset(converted, dataset, normalize=False)
    np.testing.assert_allclose(unit(raw.image_vectors), normalised.image_vectors, atol=1e-6)
    np.testing.assert_allclose(unit(raw.textual_vectors), normalised.textual_vectors, atol=1e-6)
    np.testing.assert_allclose(raw.textual_vectors, converted.fclip.encode_text(CAPTIONS, 32), atol=1e-5)
    assert normalised.dataset is dataset


def test_nearest_neighbours_searches_the_given_vectors(converted: Converted, dataset: FCLIPDataset) -> None:
    """The package searches the dataset's images if `approx`, whatever it is given."""
    fclip = with_dataset(converted, dataset)
    texts = fclip.textual_vectors
    assert fclip._nearest_neighbours(1, texts, texts) == [[0], [1], [2]]
    assert fclip._cosine_similarity(3 * texts, texts).diagonal() == pytest.approx(1, abs=1e-5)


def test_the_code_of_the_readme_and_the_tutorial_runs(
    converted: Converted, images: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(images[0]).parent.parent)
    folder, model = Path(images[0]).parent.name, str(converted.folder)

    fclip = FashionCLIP(model)
    image_embeddings = fclip.encode_images(images, batch_size=32)
    text_embeddings = fclip.encode_text(TEXTS, batch_size=32)
    image_embeddings = image_embeddings / np.linalg.norm(image_embeddings, ord=2, axis=-1, keepdims=True)
    text_embeddings = text_embeddings / np.linalg.norm(text_embeddings, ord=2, axis=-1, keepdims=True)
    assert (image_embeddings @ text_embeddings.T).shape == (7, 7)

    catalog = [
        {"id": 1, "image": "portrait.jpg", "caption": "light red polo shirt"},
        {"id": 2, "image": "square.png", "caption": "an adidas sneaker"},
        {"id": 3, "image": "grey.png", "caption": "dark red polo shirt"},
    ]
    dataset = FCLIPDataset(
        "farfetch_local", image_source_path=f"./{folder}", image_source_type="local", catalog=catalog
    )
    fclip = FashionCLIP(model, dataset)
    test_captions = ["nike sneakers", "shoes", "pizza", "shoes"]
    assert fclip.zero_shot_classification([f"{folder}/square.png"], test_captions)[0] in test_captions
    candidates = fclip.retrieval(["shoes"])
    figure = dataset.display_products(dataset.ids[candidates], fields=("id",))
    assert [axes.texts[0].get_text() for axes in figure.axes] == [str(each) for each in dataset.ids[candidates[0]]]


def test_dataset(dataset: FCLIPDataset, images: list[str]) -> None:
    assert dataset.ids.tolist() == ["1", "2", "3"]
    assert dataset.captions.tolist() == CAPTIONS
    assert dataset.images_path.tolist() == images[:3]
    assert dataset.id_to_idx["3"] == 2
    assert dataset._retrieve_row("2")["caption"] == "a sneaker"
    assert {dataset.random_product_id() for _ in range(200)} == {"1", "2", "3"}
    assert dataset.hash() != FCLIPDataset("shop", "elsewhere", "local", catalog=list(dataset.catalog[:2])).hash()


def test_what_is_missing_or_not_supported_is_named(converted: Converted, dataset: FCLIPDataset) -> None:
    fclip = converted.fclip
    for call, message in (
        (lambda: FCLIPDataset("FF", "s3://bucket", "S3"), "'S3' are not supported"),
        (lambda: FCLIPDataset("FF", "images", "local"), "no published catalog 'FF'"),
        (lambda: FCLIPDataset("a", "images", "local", catalog=[{"id": 1, "image": "x"}]), "row 0 .* no 'caption'"),
        (lambda: dataset.display_products(["1"]), "product 1 has no field 'short_description'"),
        (lambda: dataset.display_products(["9"]), "no product with the id '9'"),
        (lambda: fclip.retrieval(["shirt"]), "needs a dataset"),
        (lambda: fclip.display_attention("x.jpg", "shoe"), "not supported"),
        (lambda: fclip.encode_images("x.jpg", 8), "list"),
        (lambda: fclip.encode_images(["missing.jpg"], 8), "image 0: missing.jpg"),
        (lambda: fclip.encode_text("a shoe", 8), "list"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_importing_fclip_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import fclip; print(*set(sys.modules) - before)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["fclip"]


def test_fclip_tiny_needs_no_torch(images: list[str]) -> None:
    code = f"from fclip import FashionCLIP; f = FashionCLIP('fclip-tiny'); f.encode_images({images!r}, 8); import sys; "
    code += "print(f.encode_text(['shoe'], 8).shape, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "(1, 384) False"
