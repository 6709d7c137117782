"""Models with equal towers share cached features, and the features equal those of the whole model."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fclip.base_models import towers
from fclip.errors import UserError
from fclip.features.encode import encode_images, encode_texts
from fclip.features.extract import extract_features
from fclip.features.towers import BLOCK_ROWS, Tower, read_towers
from fclip.images.packs import ImagePacks, StoredImage
from fclip.images.pixels import decode
from fclip.models.folder import WEIGHTS
from fclip.models.store import load
from tests.fclip.base_models.conftest import TOWERS

TEXTS = ["red dress", "shoes"]


def copy_with_changes(folder: Path, out: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """Copy a model and change its weights."""
    shutil.copytree(folder, out)
    weights = load_file(out / WEIGHTS)
    change(weights)
    save_file(weights, out / WEIGHTS)
    return out


def scaled(*names: str) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(weights: dict[str, torch.Tensor]) -> None:
        for name in names:
            weights[name] = weights[name] * 1.5 + 0.01

    return change


def test_models_that_differ_only_in_projections_are_encoded_once(
    models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path, counted: dict[str, int]
) -> None:
    base_model = models["seed-0"]
    heads = copy_with_changes(base_model, tmp_path / "heads", scaled("visual.proj", "text_projection", "logit_scale"))
    texts = copy_with_changes(base_model, tmp_path / "texts", scaled("token_embedding.weight"))
    folders = {"base-model": base_model, "heads": heads, "texts": texts}
    digests = [image.sha256 for image in images]
    found = extract_features(folders, packs=packs, digests=digests, texts=TEXTS, cache=tmp_path / "cache", device="cpu")
    assert counted == {"load": 2, "decode": 75, "encode_images": 75, "encode_texts": 4}
    for name, folder in folders.items():
        clip = load(folder)
        pixels = np.stack([decode(image.content, clip.preprocess) for image in images])
        np.testing.assert_allclose(found[name].images, encode_images(clip, pixels), atol=1e-5)
        np.testing.assert_allclose(found[name].texts, encode_texts(clip, TEXTS), atol=1e-5)
        assert found[name].model_sha256 == clip.model_sha256
    assert not np.allclose(found["base-model"].images, found["heads"].images, atol=1e-3)


def test_features_of_towers_equal_the_whole_model(
    packs: ImagePacks, images: list[StoredImage], tmp_path: Path, quick_towers: None
) -> None:
    (folder := tmp_path / "towers").mkdir()
    towers.compose(TOWERS, folder)
    assert {modality: tower.projection is not None for modality, tower in read_towers(folder).items()} == {
        "image": True,
        "text": True,
    }
    clip = load(folder)
    pixels = np.stack([decode(image.content, clip.preprocess) for image in images[:20]])
    found = extract_features(
        {"towers": folder},
        packs=packs,
        digests=[image.sha256 for image in images[:20]],
        texts=TEXTS,
        cache=tmp_path / "cache",
        device="cpu",
    )["towers"]
    np.testing.assert_allclose(found.images, encode_images(clip, pixels), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.texts, encode_texts(clip, TEXTS), rtol=1e-3, atol=1e-4)


def test_a_tower_without_a_single_projection_matrix_is_not_cut(models: dict[str, Path], tmp_path: Path) -> None:
    def two_layers(weights: dict[str, torch.Tensor]) -> None:
        weights["visual.head.mlp.fc1.weight"] = weights.pop("visual.proj")
        weights["visual.head.mlp.fc2.weight"] = torch.eye(16)

    def without(weights: dict[str, torch.Tensor]) -> None:
        del weights["visual.proj"]

    base_model = read_towers(models["seed-0"])
    for name, change in {"mlp": two_layers, "none": without}.items():
        copied = read_towers(copy_with_changes(models["seed-0"], tmp_path / name, change))
        assert copied["image"].projection is None
        assert copied["text"].tower_sha256 == base_model["text"].tower_sha256


def test_towers_with_unknown_tensor_names_are_not_separated(models: dict[str, Path], tmp_path: Path) -> None:
    def prefixed(weights: dict[str, torch.Tensor]) -> None:
        for name in list(weights):
            weights[f"module.{name}"] = weights.pop(name)

    folders = [copy_with_changes(models[name], tmp_path / name, prefixed) for name in ("seed-0", "seed-1")]
    first, second = map(read_towers, folders)
    for modality, tower in first.items():
        assert tower.projection is None
        assert tower.tower_sha256 != second[modality].tower_sha256


def test_other_files_of_the_folder_are_part_of_the_digest(models: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(models["seed-0"], tmp_path / "other")
    (tmp_path / "other" / "tokenizer.json").write_text("{}")
    assert read_towers(tmp_path / "other")["text"].tower_sha256 != read_towers(models["seed-0"])["text"].tower_sha256


def test_projected_rows_do_not_depend_on_other_rows() -> None:
    draw = np.random.default_rng(0)
    tower = Tower("0" * 64, draw.normal(size=(1280, 384)).astype("f4"))
    pooled = draw.normal(size=(2 * BLOCK_ROWS + 37, 1280)).astype("f4")
    whole = tower.project(pooled)
    np.testing.assert_allclose(whole, pooled @ tower.projection, rtol=1e-3, atol=1e-3)
    order = draw.permutation(len(pooled))
    assert tower.project(pooled[order]).tobytes() == whole[order].tobytes()
    for row in (0, BLOCK_ROWS - 1, len(pooled) - 1):
        assert tower.project(pooled[row : row + 1]).tobytes() == whole[row : row + 1].tobytes()
    assert tower.project(np.empty((0, 0), "f4")).shape == (0, 0)


def test_unreadable_weights_are_an_error(models: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(models["seed-0"], tmp_path / "cut")
    content = (tmp_path / "cut" / WEIGHTS).read_bytes()
    (tmp_path / "cut" / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        read_towers(tmp_path / "cut")
