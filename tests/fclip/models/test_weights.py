"""Mixtures: averages of the weights of other folders, computed on loading."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fclip.errors import UserError
from fclip.features.encode import encode_texts
from fclip.features.towers import read_towers
from fclip.files import sha256_tree
from fclip.models.digests import model_sha256
from fclip.models.folder import CONFIG, WEIGHTS
from fclip.models.mixtures import MIXTURE, MixturePart
from fclip.models.store import load
from fclip.models.weights import distances, materialise_mixture, open_weights, write_mixture
from tests.tiny_shop import tiny_clip


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [tiny_clip(tmp_path / "models" / f"m{seed}", seed=seed) for seed in range(3)]


def distance(folder: Path, base_model: Path) -> float:
    return distances({"model": folder}, base_model)["model"]


def mixture(folder: Path, parts: list[tuple[Path, float]]) -> Path:
    folder.mkdir(parents=True)
    write_mixture(folder, [MixturePart(*part) for part in parts])
    return folder


def test_a_mixture_is_the_weighted_mean_of_the_weights(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.2), (models[1], 0.3), (models[2], 0.5)])
    states = [load_file(model / WEIGHTS) for model in models]
    with open_weights(mixed) as weights:
        assert sorted(weights.keys()) == sorted(states[0])
        for name in states[0]:
            expected = 0.2 * states[0][name] + 0.3 * states[1][name] + 0.5 * states[2][name]
            torch.testing.assert_close(weights.get_tensor(name), expected, atol=1e-6, rtol=1e-5)


def test_towers_of_a_mixture_have_their_own_shares(tmp_path: Path, models: list[Path]) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_mixture(folder, [MixturePart(models[0], 0.0, 0.25), MixturePart(models[1], 1.0, 0.75)])
    states = [load_file(model / WEIGHTS) for model in models]
    with open_weights(folder) as weights:
        for name in states[0]:
            if name.startswith("visual."):
                assert torch.equal(weights.get_tensor(name), states[1][name]), "a share of 1 changes no bit"
            else:
                expected = 0.25 * states[0][name] + 0.75 * states[1][name]
                torch.testing.assert_close(weights.get_tensor(name), expected, atol=1e-6, rtol=1e-5)
    towers, tuned = read_towers(folder), read_towers(models[1])
    assert towers["image"].tower_sha256 == tuned["image"].tower_sha256, "its cached features are shared"
    assert towers["text"].tower_sha256 != tuned["text"].tower_sha256
    whole = tmp_path / "whole"
    whole.mkdir()
    materialise_mixture(folder, whole)
    assert model_sha256(folder) == model_sha256(whole)
    texts = ["a red dress", "blue"]
    assert (encode_texts(load(folder), texts) == encode_texts(load(whole), texts)).all()


def test_a_mixture_loads_as_the_materialised_model(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    assert not list(mixed.glob("*.safetensors")), "no weights are stored"
    whole = tmp_path / "whole"
    whole.mkdir()
    materialise_mixture(mixed, whole)
    assert model_sha256(mixed) == sha256_tree(whole) == model_sha256(whole)
    texts = ["a red dress", "blue"]
    assert (encode_texts(load(mixed), texts) == encode_texts(load(whole), texts)).all()
    assert load(mixed).model_sha256 == load(whole).model_sha256


def test_a_loaded_model_can_get_the_weights_of_another(tmp_path: Path, models: list[Path]) -> None:
    texts = ["a red dress", "blue"]
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    clip = load(models[2])
    for folder in (models[1], mixed):
        expected, clip = load(folder), load(folder, reuse=(before := clip))
        assert clip.model is before.model
        assert (clip.path, clip.model_sha256) == (folder, model_sha256(folder))
        assert (encode_texts(clip, texts) == encode_texts(expected, texts)).all()


def test_another_architecture_is_created_anew(tmp_path: Path, models: list[Path]) -> None:
    other = tmp_path / "other"
    shutil.copytree(models[1], other)
    config = json.loads((other / CONFIG).read_text())
    config["preprocess_cfg"]["resize_mode"] = "squash"
    (other / CONFIG).write_text(json.dumps(config))
    clip = load(models[0])
    assert load(other, reuse=clip).model is not clip.model
    assert load(other, reuse=clip).preprocess.resize_mode == "squash"
    (models[1] / WEIGHTS).write_bytes((models[1] / WEIGHTS).read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        load(models[1], reuse=clip)


def test_a_mixture_can_be_moved_together_with_its_parts(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "models" / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    before = model_sha256(mixed)
    shutil.move(tmp_path / "models", tmp_path / "moved")
    assert load(tmp_path / "moved" / "mixed").model_sha256 == before


def test_equal_tensors_stay_bit_identical_so_that_frozen_towers_are_shared(tmp_path: Path, models: list[Path]) -> None:
    state = load_file(models[0] / WEIGHTS)
    heads = {name for name in state if name in ("visual.proj", "text_projection")}
    shutil.copytree(models[0], tmp_path / "tuned")
    save_file(
        {name: tensor * 1.5 if name in heads else tensor for name, tensor in state.items()},
        tmp_path / "tuned" / WEIGHTS,
    )
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.3), (tmp_path / "tuned", 0.7)])
    with open_weights(mixed) as weights:
        for name, tensor in state.items():
            if name not in heads:
                assert torch.equal(weights.get_tensor(name), tensor)
    mixed_towers, base_towers = read_towers(mixed), read_towers(models[0])
    for modality in ("image", "text"):
        assert mixed_towers[modality].tower_sha256 == base_towers[modality].tower_sha256
    whole = tmp_path / "whole"
    whole.mkdir()
    materialise_mixture(mixed, whole)
    projection, expected = mixed_towers["image"].projection, read_towers(whole)["image"].projection
    assert projection is not None
    assert expected is not None
    assert (projection == expected).all()


def test_mixtures_of_different_towers_differ_by_share(tmp_path: Path, models: list[Path]) -> None:
    digests = {
        read_towers(mixture(tmp_path / f"at-{share}", [(models[0], 1 - share), (models[1], share)]))[
            "image"
        ].tower_sha256
        for share in (0.25, 0.5)
    }
    assert len(digests | {read_towers(model)["image"].tower_sha256 for model in models[:2]}) == 4


def test_distance_is_relative_to_the_base_model(tmp_path: Path, models: list[Path]) -> None:
    assert distance(models[0], models[0]) == 0
    far = distance(models[1], models[0])
    halfway = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    assert distance(halfway, models[0]) == pytest.approx(far / 2, rel=1e-5)
    states = [load_file(model / WEIGHTS) for model in models[:2]]
    squared_difference = sum(
        float((states[1][name] - tensor).double().square().sum()) for name, tensor in states[0].items()
    )
    squared_norm = sum(float(tensor.double().square().sum()) for tensor in states[0].values())
    assert far == pytest.approx(math.sqrt(squared_difference / squared_norm))
    assert distance(tiny_clip(tmp_path / "broken", broken=True), models[0]) == math.inf
    save_file({**states[1], "visual.proj": torch.ones(3, 3)}, models[1] / WEIGHTS)
    assert distance(models[1], models[0]) == math.inf, "different shapes"
    save_file({"another": torch.ones(3)}, models[1] / WEIGHTS)
    assert distance(models[1], models[0]) == math.inf, "different names"


def test_a_changed_or_missing_part_is_an_error(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    (models[1] / WEIGHTS).write_bytes((models[2] / WEIGHTS).read_bytes())
    (tmp_path / "whole").mkdir()
    with pytest.raises(UserError, match="a model that it averages has changed; run the stage `average` again"):
        materialise_mixture(mixed, tmp_path / "whole")
    shutil.rmtree(models[1])
    with pytest.raises(UserError, match=r"mixture\.json: its part .*m1 has no open_clip_model"):
        materialise_mixture(mixed, tmp_path / "whole")


@pytest.mark.parametrize("other", [{"another": torch.ones(1)}, {"logit_scale": torch.ones(2)}])
def test_models_with_different_tensors_cannot_be_averaged(
    other: dict[str, torch.Tensor], tmp_path: Path, models: list[Path]
) -> None:
    state = load_file(models[1] / WEIGHTS)
    save_file({**state, **other}, models[1] / WEIGHTS)
    with pytest.raises(UserError, match="different tensors cannot be averaged"):
        mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])


def test_counters_are_not_averaged(tmp_path: Path, models: list[Path]) -> None:
    for number, model in enumerate(models[:2]):
        state = load_file(model / WEIGHTS)
        save_file({**state, "seen": torch.tensor(10 * number)}, model / WEIGHTS)
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    with open_weights(mixed) as weights:
        assert int(weights.get_tensor("seen")) == 10
    assert [part["share"] for part in json.loads((mixed / MIXTURE).read_text())["parts"]] == [0.5, 0.5]
