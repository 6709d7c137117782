"""CLIPs from transformers' form and back: the peer is transformers itself, on randomly initialised models."""

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
from fclip.export.transformers import export_clip
from fclip.images.pixels import decode, normalise
from fclip.models import store
from tests.fclip.conversion.peers import image_features, peer, save_peer, text_features, word_tokenizer
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
    "an epsilon of its own": {"image": {"layer_norm_eps": 1e-3}, "text": {"layer_norm_eps": 1e-2}},
    "an old config": {"text": {"eos_token_id": 2}},
}


@pytest.fixture(scope="module")
def clips() -> Any:
    return tokens.clips(77)


def imported(folder: Path, out_dir: Path) -> store.Clip:
    out_dir.mkdir()
    import_clip(folder, source_files(path.name for path in folder.iterdir()), out_dir)
    return store.load(out_dir)


def edit(folder: Path, name: str, **values: Any) -> None:
    path = folder / name
    stored = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**stored, **values}))


@torch.inference_mode()
def same_features(clip: store.Clip, model: CLIPModel, tokenizer: Any) -> None:
    pixels = torch.randn(3, 3, clip.preprocess.size, clip.preprocess.size, generator=torch.Generator().manual_seed(1))
    ours = clip.model.encode_image(pixels), clip.model.encode_text(clip.tokenize(TEXTS))
    theirs = image_features(model, pixels), text_features(model, tokenizer, TEXTS)
    for mine, other in zip(ours, theirs, strict=True):
        assert float(other.std()) > 0.1
        assert torch.allclose(mine, other, atol=TOLERANCE, rtol=0), float((mine - other).abs().max())
    assert torch.equal(clip.model.logit_scale, model.logit_scale)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_features_are_transformers_and_the_way_back_gives_the_same_model(
    tmp_path: Path, clips: Any, architecture: str
) -> None:
    model = peer(**ARCHITECTURES[architecture])
    clip = imported(save_peer(tmp_path / "theirs", model), tmp_path / "ours")
    assert clip.context_length == model.config.text_config.max_position_embeddings
    same_features(clip, model, clips)
    export_clip(clip.path, tmp_path / "back")
    back = CLIPModel.from_pretrained(tmp_path / "back")
    state = back.state_dict()
    assert {name: tensor.dtype for name, tensor in state.items()} == dict.fromkeys(model.state_dict(), torch.float32)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    same_features(clip, back, clips)


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_what_open_clip_made_is_the_same_in_transformers(tmp_path: Path, custom_text: bool, quick_gelu: bool) -> None:
    folder = tiny_clip(tmp_path / "ours")
    stored = store.read_config(folder)
    stored["model_cfg"] |= {"custom_text": custom_text, "quick_gelu": quick_gelu, "init_logit_bias": -10}
    (folder / store.CONFIG).write_text(json.dumps(stored))
    clip = store.load(folder)
    export_clip(folder, tmp_path / "theirs")
    processor = CLIPProcessor.from_pretrained(tmp_path / "theirs")
    same_features(clip, CLIPModel.from_pretrained(tmp_path / "theirs"), processor.tokenizer)
    same_pixels(clip.preprocess, processor.image_processor)


def same_pixels(preprocess: store.Preprocess, processor: Any) -> None:
    """On a picture whose longer side is cropped evenly: the two halve an odd margin differently, by a pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (10, 8, 3), np.uint8)
    picture = Image.fromarray(noise).resize((80, 100))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    ours = normalise(decode(buffer.getvalue(), preprocess)[None].copy(), preprocess)
    theirs = processor(images=picture, return_tensors="pt")["pixel_values"]
    assert float((ours - theirs).abs().max()) <= 1.01 / 255 / min(preprocess.std)  # a grey level, in rounding


def in_shards(folder: Path, model: CLIPModel) -> None:
    model.save_pretrained(folder, max_shard_size="500KB")
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 1


def as_pickle(folder: Path, model: CLIPModel) -> None:
    positions = torch.arange(77).expand(1, -1)  # as transformers stored it until 4.31
    torch.save({**model.state_dict(), "text_model.embeddings.position_ids": positions}, folder / "pytorch_model.bin")


def as_pickled_shards(folder: Path, model: CLIPModel) -> None:
    names = list(model.state_dict())
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for shard, own in shards.items():
        torch.save({name: model.state_dict()[name] for name in own}, folder / shard)
    index = {name: shard for shard, own in shards.items() for name in own}
    edit(folder, "pytorch_model.bin.index.json", weight_map=index)


@pytest.mark.parametrize("write", [in_shards, as_pickle, as_pickled_shards])
def test_weights_are_read_in_every_form(tmp_path: Path, write: Callable[[Path, CLIPModel], None]) -> None:
    expected = imported(save_peer(tmp_path / "one"), tmp_path / "expected").model_sha256
    folder = save_peer(tmp_path / "other")
    (folder / "model.safetensors").unlink()
    write(folder, peer())
    assert imported(folder, tmp_path / "ours").model_sha256 == expected


def test_half_precision_becomes_single(tmp_path: Path, clips: Any) -> None:
    clip = imported(save_peer(tmp_path / "theirs", peer().half()), tmp_path / "ours")
    assert {tensor.dtype for tensor in clip.model.state_dict().values()} == {torch.float32}
    same_features(clip, peer().half().float(), clips)


def test_safetensors_are_preferred_and_nothing_is_unpickled(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    folder = save_peer(tmp_path / "theirs")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Harmful(), protocol=2))
    imported(folder, tmp_path / "ours")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"pytorch_model\.bin could not be read"):
        imported(folder, tmp_path / "none")
    assert not (tmp_path / "harm").exists()


def test_clips_tokenizer_is_open_clips_in_each_of_its_forms(tmp_path: Path, clips: Any) -> None:
    expected = imported(save_peer(tmp_path / "without"), tmp_path / "expected").model_sha256
    folder = save_peer(tmp_path / "theirs", tokenizer=clips)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]
    assert imported(folder, tmp_path / "new").model_sha256 == expected
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(vocabulary["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in vocabulary["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    assert imported(folder, tmp_path / "old").model_sha256 == expected


def test_clips_tokens_are_the_same_on_many_texts(clips: Any) -> None:
    own = SimpleTokenizer()
    random = np.random.default_rng(0)
    alphabet = list("abcdefghij XYZ 0123456789 .,;:!?#%&/()-+' éüñß 漢字 ж 👗")
    for length in random.integers(0, 40, 300):
        text = "".join(random.choice(alphabet, length))
        assert clips(text)["input_ids"] == [own.sot_token_id, *own.encode(text), own.eot_token_id], text


def test_another_tokenizer_is_kept(tmp_path: Path) -> None:
    tokenizer = word_tokenizer(12)
    model = peer(text={"vocab_size": len(tokenizer), "max_position_embeddings": 12, "eos_token_id": 3})
    folder = save_peer(tmp_path / "theirs", model, tokenizer)
    clip = imported(folder, tmp_path / "ours")
    assert clip.tokenizer(["a red coat"])[0].tolist()[:6] == [1, 4, 8, 12, 3, 0]
    same_features(clip, model, tokenizer)
    export_clip(clip.path, tmp_path / "back")
    assert imported(tmp_path / "back", tmp_path / "again").model_sha256 == clip.model_sha256


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
def test_pixels_are_transformers(tmp_path: Path, stored: dict[str, Any], resize_mode: str, name: str) -> None:
    folder = save_peer(tmp_path / "theirs")
    whole = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, **stored}
    edit(folder, name, **(whole if name == "preprocessor_config.json" else {"image_processor": whole}))
    preprocess = imported(folder, tmp_path / "ours").preprocess
    assert preprocess.resize_mode == resize_mode
    same_pixels(preprocess, CLIPImageProcessorPil(**whole))


def set_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    """Write tensors, or drop those that are None."""
    state = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: one for name, one in state.items() if one is not None}, folder / "model.safetensors")


def change(folder: Path, **values: Any) -> None:
    """Edit a section of config.json."""
    stored = json.loads((folder / "config.json").read_text())
    edit(folder, "config.json", **{section: {**stored[section], **own} for section, own in values.items()})


Damage = Callable[[Path], object]
DAMAGES: dict[str, Damage] = {
    "its model_type is siglip, not clip.*kind: open_clip": lambda f: edit(f, "config.json", model_type="siglip"),
    "its model_type is chinese_clip": lambda f: edit(f, "config.json", model_type="chinese_clip"),
    "its model_type is None": lambda f: (f / "config.json").write_text("{}"),
    "it has no config.json": lambda f: (f / "config.json").unlink(),
    "config.json is no JSON": lambda f: (f / "config.json").write_text("{"),
    "refused by transformers": lambda f: change(f, text_config={"hidden_size": "wide"}),
    "towers use gelu and quick_gelu": lambda f: change(f, text_config={"hidden_act": "gelu"}),
    "towers use silu": lambda f: change(f, text_config={"hidden_act": "silu"}, vision_config={"hidden_act": "silu"}),
    "1 channels": lambda f: change(f, vision_config={"num_channels": 1}),
    "eos_token_id is": lambda f: change(f, text_config={"eos_token_id": [2, 3]}),
    "not of the shapes": lambda f: change(f, text_config={"intermediate_size": 64}),
    "lack 1 tensors of a CLIP, such as logit_scale": lambda f: set_tensors(f, logit_scale=None),
    "hold 1 tensors that are no CLIP's, such as classifier": lambda f: set_tensors(f, classifier=torch.zeros(1)),
    "it has no weights": lambda f: (f / "model.safetensors").unlink(),
    "model.safetensors could not be read": lambda f: (f / "model.safetensors").write_bytes(b"half"),
    "resizes to .*256.* and crops to 32": lambda f: edit(f, "preprocessor_config.json", size=256),
    "leaves out do_resize": lambda f: edit(f, "preprocessor_config.json", do_resize=False),
    "resample 1": lambda f: edit(f, "preprocessor_config.json", resample=1),
    "squares only": lambda f: edit(f, "preprocessor_config.json", crop_size={"height": 32, "width": 16}),
    "tokenizer could not be loaded": lambda f: (f / "tokenizer.json").write_text("{}"),
}


@pytest.mark.parametrize("said", DAMAGES)
def test_what_is_no_clip_of_transformers_is_one_clear_error(tmp_path: Path, said: str) -> None:
    folder = save_peer(tmp_path / "theirs")
    DAMAGES[said](folder)
    with pytest.raises(UserError, match=rf"theirs cannot be read as a CLIPModel of transformers: .*{said}"):
        imported(folder, tmp_path / "ours")


def test_a_tokenizer_must_be_there_unless_the_vocabulary_is_clips(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    peer(text={"vocab_size": 300}).save_pretrained(folder)
    with pytest.raises(UserError, match="it has no tokenizer, and its vocabulary of 300"):
        imported(folder, tmp_path / "ours")


@pytest.mark.parametrize(
    ("section", "values", "said"),
    [
        ("vision_cfg", {"timm_model_name": "resnet18"}, "vision_cfg.timm_model_name resnet18"),
        ("vision_cfg", {"layers": [1, 1, 1, 1]}, "a ResNet"),
        ("vision_cfg", {"ls_init_value": 0.1}, "vision_cfg.ls_init_value"),
        ("text_cfg", {"pool_type": "last"}, "taken at `last`"),
        ("text_cfg", {"no_causal_mask": True}, "text_cfg.no_causal_mask"),
    ],
)
def test_what_transformers_cannot_be_is_one_clear_error(
    tmp_path: Path, section: str, values: dict[str, Any], said: str
) -> None:
    folder = tiny_clip(tmp_path / "ours")
    stored = store.read_config(folder)
    stored["model_cfg"][section] |= values
    (folder / store.CONFIG).write_text(json.dumps(stored))
    model_cfg = json.loads(json.dumps(stored["model_cfg"]))
    store.write_weights(open_clip.CLIP(**model_cfg), folder)
    with pytest.raises(UserError, match=f"cannot be a CLIPModel of transformers: .*{said}"):
        export_clip(folder, tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()
