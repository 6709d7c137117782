"""Trainable parameters, their learning rates, and low-rank updates."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from fclip.models import store
from fclip.training.low_rank import add_low_rank_updates, merged_state
from fclip.training.trainable import (
    freeze_all_except,
    head_names,
    layer_depths,
    parameter_groups,
    set_training_mode,
    trainable_names,
    trainable_parameters,
)
from tests.fclip.training.training_jobs import make_config

RESNET: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 2},
}
TIMM: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 32,
    },
    "text_cfg": {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 3},
}


class Towers(nn.Module):
    """An image tower with batch normalisation and dropout, and a text tower with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
        self.text = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))


@pytest.mark.parametrize(("image", "text"), [(False, False), (True, False), (False, True), (True, True)])
def test_only_trained_towers_have_dropout_and_batch_statistics_are_fixed(image: bool, text: bool) -> None:
    model = Towers()
    names = frozenset(name for name, _ in model.named_parameters())
    wanted = tuple(tower for tower, tuned in (("visual.", image), ("text.", text)) if tuned)
    freeze_all_except(model, frozenset(name for name in names if name.startswith(wanted)))
    before = {name: value.clone() for name, value in model.visual[1].state_dict().items()}
    set_training_mode(model, training=True)
    assert (model.visual[2].training, model.text[0].training) == (image, text)
    model.visual(torch.randn(8, 3, 4, 4) + 5)
    assert all(torch.equal(value, before[name]) for name, value in model.visual[1].state_dict().items())
    set_training_mode(model, training=False)
    assert not any(module.training for module in model.modules())


def test_layer_depths_of_the_vit_of_open_clip(tiny_base_model: Path) -> None:
    names = [name for name, _ in store.load(tiny_base_model).model.named_parameters()]
    depth = layer_depths(names)
    assert depth["visual.conv1.weight"] == depth["visual.class_embedding"] == depth["token_embedding.weight"] == 0
    assert depth["visual.positional_embedding"] == depth["positional_embedding"] == depth["visual.ln_pre.weight"] == 0
    assert depth["visual.transformer.resblocks.0.ln_1.weight"] == depth["transformer.resblocks.0.ln_1.bias"] == 1
    assert depth["visual.transformer.resblocks.1.mlp.c_fc.weight"] == 2
    assert depth["visual.ln_post.weight"] == depth["visual.proj"] == 3
    assert depth["ln_final.weight"] == depth["text_projection"] == 2


@pytest.mark.parametrize(
    ("config", "kind", "stem", "block", "last"),
    [
        (RESNET, open_clip.CLIP, "conv1.weight", "layer2.0.conv1.weight", "attnpool.c_proj.weight"),
        (TIMM, open_clip.CustomTextCLIP, "trunk.conv_stem.weight", "trunk.blocks.1.", "trunk.conv_head.weight"),
    ],
)
def test_layer_depths_of_other_towers(config: dict[str, Any], kind: Any, stem: str, block: str, last: str) -> None:
    stem, block, last = (f"visual.{name}" for name in (stem, block, last))
    depth = layer_depths([name for name, _ in kind(**config).named_parameters()])
    block_depths = {each for name, each in depth.items() if name.startswith(block)}
    assert depth[stem] == 0
    assert block_depths == {2}
    assert depth[last] == 1 + max(each for name, each in depth.items() if ".layer4." in name or ".blocks.6." in name)


def test_last_layers_trains_only_the_last_blocks(tiny_base_model: Path) -> None:
    model = store.load(tiny_base_model).model
    tuned = trainable_names(model, make_config(trainable="image_tower", last_layers=1))
    blocks = {name.split(".")[3] for name in tuned if ".resblocks." in name}
    assert blocks == {"1"}
    assert {"visual.ln_post.weight", "visual.proj", "text_projection", "logit_scale"} <= tuned
    assert not {"visual.conv1.weight", "visual.positional_embedding"} & tuned


def test_text_tower_keeps_the_image_tower_frozen(tiny_base_model: Path) -> None:
    tuned = trainable_names(store.load(tiny_base_model).model, make_config(trainable="text_tower"))
    assert {name for name in tuned if name.startswith("visual.")} == {"visual.proj"}
    assert {"token_embedding.weight", "transformer.resblocks.0.ln_1.weight"} <= tuned


def test_layer_decay_lowers_the_rates_of_earlier_layers(tiny_base_model: Path) -> None:
    model = store.load(tiny_base_model).model
    parameters = dict(model.named_parameters())
    groups = parameter_groups(parameters, weight_decay=0.1, layer_decay=0.5)
    scale = {id(parameter): group["rate_scale"] for group in groups for parameter in group["params"]}
    rate_scale = {name: scale[id(parameter)] for name, parameter in parameters.items()}
    assert rate_scale["visual.proj"] == rate_scale["text_projection"] == rate_scale["logit_scale"] == 1.0
    assert rate_scale["visual.transformer.resblocks.1.ln_1.weight"] == 0.5
    assert rate_scale["visual.transformer.resblocks.0.ln_1.weight"] == 0.25
    assert rate_scale["visual.conv1.weight"] == 0.125
    assert rate_scale["transformer.resblocks.0.ln_1.weight"] == 0.5


@pytest.mark.parametrize("trainable", ["heads", "image_only", "image_tower", "text_tower", "all"])
def test_groups_contain_each_trainable_parameter_once(trainable: str, tiny_base_model: Path) -> None:
    model = store.load(tiny_base_model).model
    freeze_all_except(model, trainable_names(model, make_config(trainable=trainable)))
    tuned = trainable_parameters(model)
    groups = parameter_groups(tuned, weight_decay=0.1, layer_decay=1.0)
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in tuned.values()}
    for group in groups:
        assert group["rate_scale"] == 1.0
        assert all((parameter.ndim >= 2) == (group["weight_decay"] == 0.1) for parameter in group["params"])


def test_low_rank_updates_are_zero_initially_and_can_be_merged(tiny_base_model: Path) -> None:
    clip = store.load(tiny_base_model)
    before = {name: value.clone() for name, value in clip.model.state_dict().items()}
    config = make_config(trainable="all", lora_rank=4)
    names = trainable_names(clip.model, config)
    tuned = add_low_rank_updates(clip.model, names - head_names(names), 4, seed=0)
    assert merged_state(clip.model).keys() == before.keys()
    for name, value in merged_state(clip.model).items():
        torch.testing.assert_close(value, before[name])
    parameters = dict(clip.model.named_parameters())
    assert sum(parameters[name].numel() for name in tuned) < 0.3 * sum(value.numel() for value in before.values())
    with torch.no_grad():
        for name in tuned:
            if name.endswith(".up"):
                parameters[name].normal_()
    tokens = clip.tokenize(["a red coat"])
    expected = clip.model.encode_text(tokens)
    plain = store.load(tiny_base_model).model
    plain.load_state_dict(merged_state(clip.model))
    torch.testing.assert_close(plain.encode_text(tokens), expected)
    name = "transformer.resblocks.0.attn.in_proj_weight"
    assert torch.linalg.matrix_rank(merged_state(clip.model)[name] - before[name], rtol=1e-4) == 4
