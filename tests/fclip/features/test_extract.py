"""Each image is decoded once for all models and encoded once per model."""

from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.features import extract
from fclip.features.encode import encode_images, encode_texts
from fclip.features.extract import Features, extract_features
from fclip.images.packs import ImagePacks, StoredImage
from fclip.images.pixels import decode
from fclip.models.store import load
from tests.packs import write_packs
from tests.tiny_shop import picture

TEXTS = ["red dress", "shoes", "red dress"]


def run(models: dict[str, Path], packs: ImagePacks, digests: list[str], texts: list[str], cache: Path) -> dict:
    return extract_features(models, packs=packs, digests=digests, texts=texts, cache=cache, device="cpu", batch_size=16)


def same(first: dict[str, Features], second: dict[str, Features]) -> bool:
    return all(
        first[name].images.tobytes() == second[name].images.tobytes()
        and first[name].texts.tobytes() == second[name].texts.tobytes()
        for name in first
    )


def test_features_equal_direct_encoding(
    models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path
) -> None:
    digests = [image.sha256 for image in images][::-1]
    found = run(models, packs, digests, TEXTS, tmp_path)
    for name, folder in models.items():
        clip = load(folder)
        pixels = np.stack([decode(image.content, clip.preprocess) for image in images[::-1]])
        np.testing.assert_allclose(found[name].images, encode_images(clip, pixels), atol=1e-5)
        np.testing.assert_allclose(found[name].texts, encode_texts(clip, TEXTS), atol=1e-5)
        assert found[name].model_sha256 == clip.model_sha256


def test_each_image_is_decoded_once_and_encoded_once_per_model(
    models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path, counted: dict[str, int]
) -> None:
    digests = [image.sha256 for image in images]
    first = run(models, packs, [*digests[:50], *digests[:10]], TEXTS, tmp_path)
    assert counted == {"load": 2, "decode": 50, "encode_images": 100, "encode_texts": 4}
    assert {(f.num_encoded, f.num_cached) for f in first.values()} == {(52, 0)}
    assert first["seed-0"].images.shape == (60, 16)

    again = run(models, packs, [*digests[:50], *digests[:10]], TEXTS, tmp_path)
    assert counted == {"load": 2, "decode": 50, "encode_images": 100, "encode_texts": 4}
    assert {(f.num_encoded, f.num_cached) for f in again.values()} == {(0, 52)}
    assert same(first, again)

    more = run({"seed-0": models["seed-0"]}, packs, digests, [], tmp_path)
    assert counted["decode"] == 75
    assert counted["load"] == 3
    assert (more["seed-0"].num_encoded, more["seed-0"].num_cached) == (25, 50)
    assert more["seed-0"].texts.shape[0] == 0


def test_a_partly_filled_cache_gives_equal_bytes(
    models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path
) -> None:
    digests = [image.sha256 for image in images]
    whole = run(models, packs, digests, TEXTS, tmp_path / "whole")
    run(models, packs, digests[3:40:4], ["shoes"], tmp_path / "parts")
    run({"seed-1": models["seed-1"]}, packs, digests[60:], [], tmp_path / "parts")
    assert same(whole, run(models, packs, digests, TEXTS, tmp_path / "parts"))


def test_block_and_part_sizes_give_equal_bytes(
    models: dict[str, Path],
    packs: ImagePacks,
    images: list[StoredImage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counted: dict[str, int],
) -> None:
    digests = [image.sha256 for image in images]
    whole = run(models, packs, digests, TEXTS, tmp_path / "whole")
    monkeypatch.setattr(extract, "BLOCK_BYTES", 30 * 3 * 32 * 32)
    monkeypatch.setattr(extract, "ROWS_PER_PART", 20)
    counted.update(dict.fromkeys(counted, 0))
    assert same(whole, run(models, packs, digests, TEXTS, tmp_path / "blocks"))
    assert counted == {"load": 6, "decode": 75, "encode_images": 150, "encode_texts": 4}


def test_an_interrupted_extraction_continues(
    models: dict[str, Path],
    packs: ImagePacks,
    images: list[StoredImage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counted: dict[str, int],
) -> None:
    digests = [image.sha256 for image in images]
    monkeypatch.setattr(extract, "ROWS_PER_PART", 16)
    encode = extract.encode_images

    def stopping(*args, **options):
        if counted["encode_images"] >= 48:
            raise KeyboardInterrupt
        return encode(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(extract, "encode_images", stopping)
        with pytest.raises(KeyboardInterrupt):
            run(models, packs, digests, [], tmp_path)
    found = run(models, packs, digests, [], tmp_path)
    assert found["seed-0"].num_cached == 48
    assert counted["encode_images"] == 150


def test_models_with_equal_weights_are_encoded_once(
    models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path, counted: dict[str, int]
) -> None:
    twice = {"champion": models["seed-0"], "challenger": models["seed-0"]}
    found = run(twice, packs, [images[0].sha256], [], tmp_path)
    assert counted["encode_images"] == 1
    assert same({"champion": found["champion"]}, {"champion": found["challenger"]})


def test_texts_alone_need_no_images(models: dict[str, Path], tmp_path: Path) -> None:
    found = extract_features(models, packs=None, digests=[], texts=["shoes"], cache=tmp_path, device="cpu")
    assert found["seed-1"].texts.shape == (1, 16)
    assert found["seed-1"].images.shape[0] == 0


def test_an_undecodable_or_missing_image_is_named(models: dict[str, Path], tmp_path: Path) -> None:
    good, bad = picture((1, 2, 3), 0), StoredImage("f" * 64, b"no image", 1, 1)
    write_packs(tmp_path / "packs", [good, bad])
    packs = ImagePacks([tmp_path / "packs"])
    with pytest.raises(UserError, match="f" * 64):
        run(models, packs, [good.sha256, bad.sha256], [], tmp_path / "cache")
    with pytest.raises(UserError, match="dvc pull"):
        run(models, packs, ["e" * 64], [], tmp_path / "cache")
