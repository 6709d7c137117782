"""The section `finetune`: what is refused, and the form it has in a job."""

from typing import Any

import pytest

from fclip.errors import UserError
from fclip.models.config import OpenClipStart, TowersStart
from fclip.training.config import AugmentConfig, from_json, to_json
from tasks.params import load_section
from tasks.paths import Workspace
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import make_config


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"trainable": "text_tower"}, "trainable"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"clip_grad_norm": 0.0}, "clip_grad_norm"),
        ({"max_logit_scale": 0.5}, "max_logit_scale"),
        ({"num_candidates": 0}, "num_candidates"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"captions": {"titel": 1.0}}, "captions must be of the kinds"),
        ({"captions": {"title": 0.0}}, "captions"),
        ({"captions": {"title": -1.0, "short": 1.0}}, "captions"),
    ],
)
def test_values_out_of_range_are_named(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        make_config(**changes)


@pytest.mark.parametrize("area", [0.0, 1.5])
def test_a_crop_keeps_something(area: float) -> None:
    with pytest.raises(ValueError, match="min_crop_area"):
        AugmentConfig(min_crop_area=area, flip=True)


@pytest.mark.parametrize(
    "start",
    [
        TowersStart(kind="towers", image_size=96, context_length=64),
        OpenClipStart(kind="open_clip", model="hf-hub:Marqo/marqo-fashionCLIP"),
        make_config().start,
    ],
)
def test_json_and_back(start: Any) -> None:
    config = make_config(start=start)
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("change", [{"lr": 1.0}, {"start": {"kind": "nothing"}}, {"epochs": 0}, {"betas": None}])
def test_json_that_is_no_config_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="no finetune config"):
        from_json({**to_json(make_config()), **change})


def test_the_repositorys_params_are_valid() -> None:
    config = load_section(Workspace(REPOSITORY), "finetune", type(make_config()))
    assert isinstance(config.start, TowersStart)
    assert config.betas == (0.9, 0.98)
