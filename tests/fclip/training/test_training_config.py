"""The section `finetune`: validation, and its JSON form in a job."""

import json
from typing import Any

import pytest

from fclip.base_models.fclip_tiny import FclipTinyConfig
from fclip.base_models.open_clip import OpenClipConfig
from fclip.base_models.registry import ChampionConfig
from fclip.base_models.towers import TowersConfig
from fclip.base_models.transformers import TransformersConfig
from fclip.errors import UserError
from fclip.training.config import AugmentConfig, DistillationConfig, HeadsFirstConfig, ReplayConfig, from_json, to_json
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY
from tests.fclip.training.training_jobs import make_config, make_objective


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"trainable": "towers"}, "trainable"),
        ({"processes": 0}, "processes"),
        ({"precision": "fp16"}, "precision"),
        ({"last_layers": 0}, "last_layers"),
        ({"layer_decay": 1.1}, "layer_decay"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"trainable": "heads", "lora_rank": 4}, "must be null where trainable is heads"),
        ({"max_skipped_steps": -1}, "max_skipped_steps"),
        ({"pixel_cache_gb": -1.0}, "pixel_cache_gb"),
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
        ({"captions": {"titel": 1.0}}, "the keys of captions must be among"),
        ({"captions": {"title": 0.0}}, "captions"),
        ({"captions": {"title": -1.0, "short": 1.0}}, "captions"),
    ],
)
def test_invalid_values_are_named(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        make_config(**changes)


def test_replay_requires_a_champion_as_base_model() -> None:
    with pytest.raises(ValueError, match="share must be from 0 to below 1"):
        ReplayConfig(share=1.0)
    with pytest.raises(ValueError, match="replay must be null unless base_model is of the kind champion"):
        make_config(replay=ReplayConfig(share=0.3))
    config = make_config(
        base_model=ChampionConfig(kind="champion", otherwise=make_config().base_model), replay=ReplayConfig(share=0.3)
    )
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("area", [0.0, 1.5])
def test_invalid_crop_areas_are_refused(area: float) -> None:
    with pytest.raises(ValueError, match="min_crop_area"):
        AugmentConfig(
            min_crop_area=area,
            flip=True,
            colour_jitter=0.0,
            greyscale=0.0,
            background=0.0,
            thumbnail=0.0,
            invert=0.0,
        )


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"loss": "triplet"}, "loss"),
        ({"positives": "all"}, "positives"),
        ({"fields": {"titel": 1.0}}, "the keys of fields must be among"),
        ({"hard_negatives": 1.5}, "hard_negatives"),
        ({"micro_batch_size": 0}, "micro_batch_size"),
        ({"captions_per_image": 0}, "captions_per_image must be at least 1"),
        ({"captions_per_image": 2, "fields": {"title": 1.0}}, "captions_per_image must be 1 with fields"),
    ],
)
def test_invalid_objectives_are_named(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        make_objective(**changes)


@pytest.mark.parametrize(
    "base_model",
    [
        TowersConfig(kind="towers", image_size=96, context_length=64),
        OpenClipConfig(kind="open_clip", model="hf-hub:Marqo/marqo-fashionCLIP"),
        ChampionConfig(
            kind="champion", otherwise=TransformersConfig(kind="transformers", model="patrickjohncyh/fashion-clip")
        ),
        make_config().base_model,
    ],
)
def test_json_round_trip(base_model: Any) -> None:
    config = make_config(base_model=base_model)
    assert from_json(to_json(config)) == config
    config = make_config(
        base_model=base_model,
        heads_first=HeadsFirstConfig(epochs=1, learning_rate=0.1),
        objective=make_objective(fields={"title": 1.0}),
        distillation=DistillationConfig(teacher="teacher.parquet", sha256="00", weight=2.0),
    )
    assert from_json(json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("change", [{"lr": 1.0}, {"base_model": {"kind": "nothing"}}, {"epochs": 0}, {"betas": None}])
def test_invalid_json_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="not a valid finetune config"):
        from_json({**to_json(make_config()), **change})


def test_the_params_of_the_repository_are_valid() -> None:
    config = load_section(Workspace(REPOSITORY), "finetune", type(make_config()))
    assert isinstance(config.base_model, FclipTinyConfig)
    assert config.betas == (0.9, 0.98)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_invalid_weights_of_a_teacher_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight must be above 0"):
        DistillationConfig(teacher="teacher.parquet", sha256="00", weight=weight)


def test_a_teacher_of_images_needs_a_trained_image_projection() -> None:
    teacher = DistillationConfig(teacher="teacher.parquet", sha256="00")
    with pytest.raises(ValueError, match="distillation must be null where trainable is text_tower"):
        make_config(trainable="text_tower", distillation=teacher)
