"""Exports of models for open_clip and transformers: what open_clip loads from any folder, and what both refuse."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import BertConfig

from fclip.errors import UserError
from fclip.export.open_clip import export_open_clip
from fclip.export.parity import Parity, ParityInputs
from fclip.export.transformers import export_transformers
from fclip.features.encode import encode_images, encode_texts
from fclip.files import read_json, sha256_file, write_json
from fclip.images.pixels import decode
from fclip.models import store
from fclip.models.folder import CONFIG, WEIGHTS, write_config
from fclip.models.mixtures import MixturePart
from fclip.models.preprocess import Preprocess
from fclip.models.weights import materialise_mixture, write_mixture
from tests.fclip.conversion.peers import word_tokenizer
from tests.fclip.conversion.siglip_peers import save_siglip
from tests.fclip.export.few import few_inputs
from tests.tiny_shop import tiny_clip

Export = Callable[[Path, Path, ParityInputs], Parity]
EXPORTS: dict[str, Export] = {"open_clip": export_open_clip, "transformers": export_transformers}
both_exports = pytest.mark.parametrize("export", EXPORTS.values(), ids=EXPORTS)


def tiny_bert(folder: Path) -> Path:
    """Save a CLIP with the image tower of timm and the text tower of transformers, as in `towers`."""
    folder.mkdir(parents=True)
    tokenizer = word_tokenizer(12)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertConfig(vocab_size=len(tokenizer), **sizes, architectures=["BertModel"]).save_pretrained(folder)
    model_cfg: dict[str, Any] = {
        "embed_dim": 8,
        "vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
        "text_cfg": {
            "hf_model_name": str(folder),
            "hf_model_pretrained": False,
            "hf_tokenizer_name": str(folder),
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": 12,
        },
    }
    torch.manual_seed(0)
    with store.quiet():
        model = open_clip.CustomTextCLIP(**model_cfg)
    model_cfg["text_cfg"] |= {"hf_model_name": ".", "hf_tokenizer_name": "."}
    preprocess = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode="longest", fill_color=255)
    write_config(model_cfg, preprocess, folder)
    store.write_weights(model, folder)
    return folder


@torch.inference_mode()
def assert_open_clip_equals_the_pipeline(folder: Path, exported: str, inputs: ParityInputs) -> None:
    clip = store.load(folder)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{exported}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{exported}")
    pixels = np.stack([decode(content, clip.preprocess) for content in inputs.images])
    tensors = torch.stack([preprocess(Image.open(io.BytesIO(content))) for content in inputs.images])
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (clip.preprocess.mean, clip.preprocess.std))
    theirs = ((tensors * std + mean) * 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(theirs - pixels).max() <= 1.01  # grey levels
    features = model.eval().encode_image(tensors).numpy()
    np.testing.assert_allclose(features, encode_images(clip, pixels), atol=1e-4)
    texts = model.encode_text(tokenizer(list(inputs.texts))).numpy()
    np.testing.assert_allclose(texts, encode_texts(clip, inputs.texts), atol=1e-4)


@pytest.mark.parametrize("save", [tiny_clip, tiny_bert, save_siglip])
def test_open_clip_loads_an_export_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[Path], Path]
) -> None:
    folder, inputs = save(tmp_path / "ours"), few_inputs()
    parity = export_open_clip(folder, tmp_path / "out" / "theirs", inputs)
    assert (parity.num_images, parity.num_texts) == (len(inputs.images), len(inputs.all_texts))
    assert parity.min_image_cosine > 0.99999
    assert parity.min_text_cosine > 0.99999
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["theirs"]
    hidden = folder.rename(tmp_path / "hidden")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert_open_clip_equals_the_pipeline(hidden, "../out/theirs", inputs)
    readme = (tmp_path / "out" / "theirs" / "README.md").read_text()
    assert f'"local-dir:{tmp_path / "out" / "theirs"}"' in readme
    assert ("If you move this folder" in readme) == (save is tiny_bert)


def test_a_moved_export_needs_the_change_that_its_readme_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bert(tmp_path / "ours")
    export_open_clip(folder, tmp_path / "theirs", few_inputs())
    moved = (tmp_path / "theirs").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    stored = read_json(moved / CONFIG)
    assert stored["model_cfg"]["text_cfg"]["hf_model_name"] == str(tmp_path / "theirs")
    stored["model_cfg"]["text_cfg"]["hf_model_name"] = str(moved)
    write_json(moved / CONFIG, stored)
    assert_open_clip_equals_the_pipeline(folder, str(moved), few_inputs())


@both_exports
def test_a_mixture_is_computed(tmp_path: Path, export: Export) -> None:
    parts = [tiny_clip(tmp_path / "models" / str(seed), seed=seed) for seed in range(2)]
    mixed, whole = tmp_path / "mixed", tmp_path / "whole"
    for folder in (mixed, whole):
        folder.mkdir()
    write_mixture(mixed, [MixturePart(part, 0.5) for part in parts])
    materialise_mixture(mixed, whole)
    export(mixed, tmp_path / "theirs", few_inputs())
    export(whole, tmp_path / "expected", few_inputs())
    name = WEIGHTS if export is export_open_clip else "model.safetensors"
    assert sha256_file(tmp_path / "theirs" / name) == sha256_file(tmp_path / "expected" / name)
    shutil.copyfile(tiny_clip(tmp_path / "models" / "2", seed=2) / WEIGHTS, parts[1] / WEIGHTS)
    with pytest.raises(UserError, match="a model that it averages has changed"):
        export(mixed, tmp_path / "again", few_inputs())
    assert not (tmp_path / "again").exists()


def without_text_tower(folder: Path) -> None:
    stored = read_json(folder / CONFIG)
    del stored["model_cfg"]["text_cfg"]
    write_json(folder / CONFIG, stored)


def with_half_of_the_weights(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def with_other_shapes(folder: Path) -> None:
    stored = read_json(folder / CONFIG)
    stored["model_cfg"]["text_cfg"]["width"] = 32
    write_json(folder / CONFIG, stored)


def with_nan(folder: Path) -> None:
    shutil.copyfile(tiny_clip(folder.parent / "models" / "broken", broken=True) / WEIGHTS, folder / WEIGHTS)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "expected model_cfg with vision_cfg and text_cfg": without_text_tower,
    "cannot be loaded as an open_clip model": with_half_of_the_weights,
    "cannot be loaded as an open_clip model: ": with_other_shapes,
    "no weights found": lambda folder: (folder / WEIGHTS).unlink(),
    "the embedding of image 0 is zero or not finite, as are 8 of 8": with_nan,
    "no such folder": lambda folder: shutil.rmtree(folder),
}


@both_exports
@pytest.mark.parametrize("message", DAMAGES)
def test_a_damaged_model_is_one_error_and_writes_nothing(tmp_path: Path, export: Export, message: str) -> None:
    folder = tiny_clip(tmp_path / "ours")
    DAMAGES[message](folder)
    with pytest.raises(UserError, match=f"ours.*{message}"):
        export(folder, tmp_path / "out" / "theirs", few_inputs())
    assert not list((tmp_path / "out").glob("*"))


@both_exports
def test_an_occupied_folder_is_kept(tmp_path: Path, export: Export) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="theirs is not empty; name a new or an empty folder"):
        export(tiny_clip(tmp_path / "ours"), tmp_path / "theirs", few_inputs())
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["notes.txt"]


@both_exports
def test_a_damaged_image_is_one_error(tmp_path: Path, export: Export) -> None:
    inputs = replace(few_inputs(), images=[b"no image"])
    with pytest.raises(UserError, match="cannot be decoded"):
        export(tiny_clip(tmp_path / "ours"), tmp_path / "theirs", inputs)
    assert not (tmp_path / "theirs").exists()


def test_texts_that_transformers_reads_differently_are_refused_and_named(tmp_path: Path) -> None:
    inputs = replace(few_inputs(), texts=["Marks &amp; Spencer"])  # open_clip replaces HTML entities
    with pytest.raises(UserError, match=r"1 of 4 texts. The worst is text 'Marks &amp; Spencer' with a cosine of"):
        export_transformers(tiny_clip(tmp_path / "ours"), tmp_path / "theirs", inputs)
    assert not (tmp_path / "theirs").exists()


def test_towers_without_a_class_in_transformers_are_named(tmp_path: Path) -> None:
    message = (
        r"transformers has no class for its image tower \(timm's resnet10t\) and text tower \(of transformers, with "
        r"mean_pooler\); use another format"
    )
    with pytest.raises(UserError, match=message):
        export_transformers(tiny_bert(tmp_path / "ours"), tmp_path / "theirs", few_inputs())


def photograph(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(few_inputs().images[0])) as image:
        image.resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_that_transformers_crops_differently_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_clip(tmp_path / "ours")
    other = photograph(32, 35)  # the margin of 3 pixels is split into 2 and 1 by torchvision, 1 and 2 by transformers
    inputs = replace(few_inputs(), images=[photograph(32, 34), other, photograph(37, 32)])
    parity = export_transformers(folder, tmp_path / "theirs", inputs)
    assert (parity.num_images, parity.num_images_left_out) == (2, 1)
    assert "transformers crops 1 of 3 images one pixel away from the pipeline" in caplog.text
    with pytest.raises(UserError, match="crops each of the 1 images one pixel away"):
        export_transformers(folder, tmp_path / "again", replace(inputs, images=[other]))
