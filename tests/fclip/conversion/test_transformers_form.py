"""Conversion of CLIPs from and to transformers' format, compared with transformers on random models."""

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from fclip.conversion import tokens
from fclip.conversion.from_transformers import import_clip, source_files
from fclip.errors import UserError
from fclip.export.transformers import export_transformers
from fclip.files import sha256_file
from fclip.images.pixels import decode
from fclip.images.tensors import normalise
from fclip.models import store
from fclip.models.folder import CONFIG, WEIGHTS, read_config
from fclip.models.preprocess import Preprocess
from tests.fclip.conversion.peers import image_features, peer, save_peer, text_features, word_tokenizer
from tests.fclip.export.few import few_inputs
from tests.tiny_shop import tiny_clip

TEXTS = ["a photo of a red dress", "Women's coat, 100% wool!", "", "blue " * 90]
TOLERANCE = 1e-5
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "quick_gelu, patch 16": {},
    "patch 32, wider": {"image": {"patch_size": 32, "image_size": 64, "hidden_size": 64, "intermediate_size": 256}},
    "gelu, deeper": {"image": {"hidden_act": "gelu", "num_hidden_layers": 3}, "text": {"num_hidden_layers": 1}},
    "short context, odd MLPs": {
        "image": {"intermediate_size": 131},
        "text": {"max_position_embeddings": 20, "intermediate_size": 77},
    },
    "other epsilons": {"image": {"layer_norm_eps": 1e-3}, "text": {"layer_norm_eps": 1e-2}},
    "an old config": {"text": {"eos_token_id": 2}},
}


@pytest.fixture(scope="module")
def clips() -> Any:
    return tokens.clip_tokenizer(77)


def imported(folder: Path, out_dir: Path) -> store.Clip:
    out_dir.mkdir()
    import_clip(folder, source_files(path.name for path in folder.iterdir()), out_dir)
    return store.load(out_dir)


def edit(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    stored = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**stored, **values}))


@torch.inference_mode()
def assert_same_features(clip: store.Clip, model: CLIPModel, tokenizer: Any) -> None:
    pixels = torch.randn(3, 3, clip.preprocess.size, clip.preprocess.size, generator=torch.Generator().manual_seed(1))
    ours = clip.model.encode_image(pixels), clip.model.encode_text(clip.tokenize(TEXTS))
    theirs = image_features(model, pixels), text_features(model, tokenizer, TEXTS)
    for ours_features, theirs_features in zip(ours, theirs, strict=True):
        assert float(theirs_features.std()) > 0.1
        assert torch.allclose(ours_features, theirs_features, atol=TOLERANCE, rtol=0)
    assert torch.equal(clip.model.logit_scale, model.logit_scale)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_import_keeps_features_and_export_restores_the_model(tmp_path: Path, clips: Any, architecture: str) -> None:
    model = peer(**ARCHITECTURES[architecture])
    clip = imported(save_peer(tmp_path / "theirs", model), tmp_path / "ours")
    assert clip.context_length == model.config.text_config.max_position_embeddings
    assert_same_features(clip, model, clips)
    export_transformers(clip.path, tmp_path / "back", few_inputs())
    back = CLIPModel.from_pretrained(tmp_path / "back")
    state = back.state_dict()
    assert {name: tensor.dtype for name, tensor in state.items()} == dict.fromkeys(model.state_dict(), torch.float32)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert_same_features(clip, back, clips)


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_export_of_an_open_clip_model_keeps_features_and_pixels(
    tmp_path: Path, custom_text: bool, quick_gelu: bool
) -> None:
    folder = tiny_clip(tmp_path / "ours")
    stored = read_config(folder)
    stored["model_cfg"] |= {"custom_text": custom_text, "quick_gelu": quick_gelu, "init_logit_bias": -10}
    (folder / CONFIG).write_text(json.dumps(stored))
    clip = store.load(folder)
    export_transformers(folder, tmp_path / "theirs", few_inputs())
    processor = CLIPProcessor.from_pretrained(tmp_path / "theirs")
    assert_same_features(clip, CLIPModel.from_pretrained(tmp_path / "theirs"), processor.tokenizer)
    assert_same_pixels(clip.preprocess, processor.image_processor)


def assert_same_pixels(preprocess: Preprocess, processor: Any) -> None:
    """Compare pixels of a picture with an even crop margin. Odd margins are split differently, by one pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 3), np.uint8)
    picture = Image.fromarray(noise).resize((80, 100))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    ours = normalise(decode(buffer.getvalue(), preprocess)[None].copy(), preprocess)
    theirs = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert float((ours - theirs).abs().max()) <= 1.01 / 255 / min(preprocess.std)  # one grey level of rounding


def in_shards(folder: Path, model: CLIPModel) -> None:
    model.save_pretrained(folder, max_shard_size="500KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1


def as_pickle(folder: Path, model: CLIPModel) -> None:
    positions = torch.arange(77).expand(1, -1)  # as stored by transformers before 4.31
    torch.save({**model.state_dict(), "text_model.embeddings.position_ids": positions}, folder / "pytorch_model.bin")


def as_pickled_shards(folder: Path, model: CLIPModel) -> None:
    names = list(model.state_dict())
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, own in shards.items():
        torch.save({name: model.state_dict()[name] for name in own}, folder / shard)
    index = {name: shard for shard, own in shards.items() for name in own}
    edit(folder, "pytorch_model.bin.index.json", weight_map=index)


@pytest.mark.parametrize("write", [in_shards, as_pickle, as_pickled_shards])
def test_all_weight_formats_are_read(tmp_path: Path, write: Callable[[Path, CLIPModel], None]) -> None:
    expected = imported(save_peer(tmp_path / "one"), tmp_path / "expected").model_sha256
    folder = save_peer(tmp_path / "other")
    (folder / "model.safetensors").unlink()
    write(folder, peer())
    assert imported(folder, tmp_path / "ours").model_sha256 == expected


def test_half_precision_is_converted_to_single(tmp_path: Path, clips: Any) -> None:
    clip = imported(save_peer(tmp_path / "theirs", peer().half()), tmp_path / "ours")
    assert {tensor.dtype for tensor in clip.model.state_dict().values()} == {torch.float32}
    assert_same_features(clip, peer().half().float(), clips)


def test_safetensors_are_preferred_and_code_is_not_unpickled(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    folder = save_peer(tmp_path / "theirs")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(), protocol=2))
    imported(folder, tmp_path / "ours")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"pytorch_model\.bin cannot be read"):
        imported(folder, tmp_path / "none")
    assert not (tmp_path / "harm").exists()


def test_all_formats_of_the_clip_tokenizer_are_recognised(tmp_path: Path, clips: Any) -> None:
    expected = imported(save_peer(tmp_path / "without"), tmp_path / "expected").model_sha256
    folder = save_peer(tmp_path / "theirs", tokenizer=clips)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]
    assert imported(folder, tmp_path / "new").model_sha256 == expected
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocabulary["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in vocabulary["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    assert imported(folder, tmp_path / "old").model_sha256 == expected


def test_clip_tokenizers_of_both_libraries_give_equal_tokens(clips: Any) -> None:
    reference = SimpleTokenizer()
    random = np.random.default_rng(0)
    alphabet = list("abcdefghij XYZ 0123456789 .,;:!?#%&/()-+' éüñß 漢字 ж 👗")
    for length in random.integers(0, 40, 300):
        text = "".join(random.choice(alphabet, length))
        assert clips(text)["input_ids"] == [reference.sot_token_id, *reference.encode(text), reference.eot_token_id], (
            text
        )


def test_other_tokenizers_are_kept(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(12)
    model = peer(text={"vocab_size": len(tokenizer), "max_position_embeddings": 12, "eos_token_id": 3})
    folder = save_peer(tmp_path / "theirs", model, tokenizer)
    clip = imported(folder, tmp_path / "ours")
    assert clip.tokenizer(["a red coat"])[0].tolist()[:6] == [1, 4, 8, 12, 3, 0]
    assert_same_features(clip, model, tokenizer)
    export_transformers(clip.path, tmp_path / "back", few_inputs())
    again = imported(tmp_path / "back", tmp_path / "again")
    assert sha256_file(again.path / WEIGHTS) == sha256_file(clip.path / WEIGHTS)
    assert torch.equal(again.tokenizer(TEXTS), clip.tokenizer(TEXTS))


@pytest.mark.parametrize(
    ("stored", "resize_mode"),
    [
        ({}, "shortest"),
        ({"size": 32, "crop_size": 32, "resample": 3}, "shortest"),
        ({"size": {"shortest_edge": 32}, "resample": 2, "image_mean": [0.1, 0.2, 0.3]}, "shortest"),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False, "image_std": [0.5] * 3}, "squash"),
        ({"do_normalize": False}, "shortest"),
    ],
)
@pytest.mark.parametrize("name", ["preprocessor_config.json", "processor_config.json"])
def test_pixels_equal_transformers(tmp_path: Path, stored: dict[str, Any], resize_mode: str, name: str) -> None:
    folder = save_peer(tmp_path / "theirs")
    whole = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, **stored}
    edit(folder, name, **(whole if name == "preprocessor_config.json" else {"image_processor": whole}))
    preprocess = imported(folder, tmp_path / "ours").preprocess
    assert preprocess.resize_mode == resize_mode
    assert_same_pixels(preprocess, CLIPImageProcessorPil(**whole))


def set_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors of the stored weights, or remove them if None."""
    state = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: one for name, one in state.items() if one is not None}, folder / "model.safetensors")


def change_config(folder: Path, **values: Any) -> None:
    """Change values in sections of config.json."""
    stored = json.loads((folder / "config.json").read_text())
    edit(folder, "config.json", **{section: {**stored[section], **own} for section, own in values.items()})


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "its model_type is siglip, not clip.*kind: open_clip": lambda f: edit(f, "config.json", model_type="siglip"),
    "its model_type is chinese_clip": lambda f: edit(f, "config.json", model_type="chinese_clip"),
    "its model_type is None": lambda f: (f / "config.json").write_text("{}"),
    "it has no config.json": lambda f: (f / "config.json").unlink(),
    "config.json is not valid JSON": lambda f: (f / "config.json").write_text("{"),
    "not valid for transformers": lambda f: change_config(f, text_config={"hidden_size": "wide"}),
    "towers use gelu and quick_gelu": lambda f: change_config(f, text_config={"hidden_act": "gelu"}),
    "towers use silu": lambda f: change_config(
        f, text_config={"hidden_act": "silu"}, vision_config={"hidden_act": "silu"}
    ),
    "1 channels": lambda f: change_config(f, vision_config={"num_channels": 1}),
    "eos_token_id is": lambda f: change_config(f, text_config={"eos_token_id": [2, 3]}),
    "the shapes of its weights do not match": lambda f: change_config(f, text_config={"intermediate_size": 64}),
    "1 tensors of a CLIP are missing from the weights, such as logit_scale": lambda f: set_tensors(f, logit_scale=None),
    "1 tensors that a CLIP does not have, such as classifier": lambda f: set_tensors(f, classifier=torch.zeros(1)),
    "it has no weights": lambda f: (f / "model.safetensors").unlink(),
    "model.safetensors cannot be read": lambda f: (f / "model.safetensors").write_bytes(b"half"),
    "resizes to .*256.* and crops to 32": lambda f: edit(f, "preprocessor_config.json", size=256),
    "disables do_resize": lambda f: edit(f, "preprocessor_config.json", do_resize=False),
    "resample 1": lambda f: edit(f, "preprocessor_config.json", resample=1),
    "only squares are supported": lambda f: edit(f, "preprocessor_config.json", crop_size={"height": 32, "width": 16}),
    "tokenizer cannot be loaded": lambda f: (f / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_an_invalid_clip_of_transformers_is_a_user_error(tmp_path: Path, message: str) -> None:
    folder = save_peer(tmp_path / "theirs")
    DAMAGES[message](folder)
    with pytest.raises(UserError, match=rf"theirs: cannot be read as a CLIPModel of transformers: .*{message}"):
        imported(folder, tmp_path / "ours")


def test_a_tokenizer_is_required_unless_the_vocabulary_is_clips(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer(text={"vocab_size": 300}).save_pretrained(folder)
    with pytest.raises(UserError, match="it has no tokenizer, and its vocabulary of 300"):
        imported(folder, tmp_path / "ours")


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "vision_cfg",
            {"timm_model_name": "resnet18"},
            "transformers has no class for its image tower .timm.s resnet18.",
        ),
        ("vision_cfg", {"layers": [1, 1, 1, 1]}, "a ResNet"),
        ("vision_cfg", {"ls_init_value": 0.1}, "vision_cfg.ls_init_value"),
        ("text_cfg", {"pool_type": "last"}, "text pooling .`last`"),
        ("text_cfg", {"no_causal_mask": True}, "text_cfg.no_causal_mask"),
    ],
)
def test_a_model_that_transformers_cannot_represent_is_a_user_error(
    tmp_path: Path, section: str, values: dict[str, Any], message: str
) -> None:
    folder = tiny_clip(tmp_path / "ours")
    stored = read_config(folder)
    stored["model_cfg"][section] |= values
    (folder / CONFIG).write_text(json.dumps(stored))
    model_cfg = json.loads(json.dumps(stored["model_cfg"]))
    store.write_weights(open_clip.CLIP(**model_cfg), folder)
    with pytest.raises(UserError, match=f"cannot be exported to transformers: .*{message}"):
        export_transformers(folder, tmp_path / "theirs", few_inputs())
    assert not (tmp_path / "theirs").exists()
