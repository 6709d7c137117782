"""Mixtures: weights that are averages of other folders', computed when they are wanted."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fclip.errors import UserError
from fclip.features.encode import encode_texts
from fclip.features.towers import towers_of
from fclip.files import sha256_tree
from fclip.models.store import load, model_sha256
from fclip.models.weights import MIXTURE, WEIGHTS, MixturePart, distance, open_weights, write_mixed, write_mixture
from tests.tiny_shop import tiny_clip


@pytest.fixture
def models(tmp_path: Path) -> list[Path]:
    return [tiny_clip(tmp_path / "models" / f"m{seed}", seed=seed) for seed in range(3)]


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


def test_it_loads_as_what_it_stands_for(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    assert not list(mixed.glob("*.safetensors")), "it takes no room"
    whole = tmp_path / "whole"
    whole.mkdir()
    write_mixed(mixed, whole)
    assert model_sha256(mixed) == sha256_tree(whole) == model_sha256(whole)
    texts = ["a red dress", "blue"]
    assert (encode_texts(load(mixed), texts) == encode_texts(load(whole), texts)).all()
    assert load(mixed).model_sha256 == load(whole).model_sha256


def test_a_moved_family_of_folders_still_fits(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "models" / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    before = model_sha256(mixed)
    shutil.move(tmp_path / "models", tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere" / "mixed").model_sha256 == before


def test_equal_tensors_stay_as_they_are_so_that_frozen_towers_are_one(tmp_path: Path, models: list[Path]) -> None:
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
    own, base_model = towers_of(mixed), towers_of(models[0])
    for modality in ("image", "text"):
        assert own[modality].tower_sha256 == base_model[modality].tower_sha256
    whole = tmp_path / "whole"
    whole.mkdir()
    write_mixed(mixed, whole)
    projection, expected = own["image"].projection, towers_of(whole)["image"].projection
    assert projection is not None
    assert expected is not None
    assert (projection == expected).all()


def test_towers_that_differ_are_others_for_each_share(tmp_path: Path, models: list[Path]) -> None:
    digests = {
        towers_of(mixture(tmp_path / f"at-{share}", [(models[0], 1 - share), (models[1], share)]))["image"].tower_sha256
        for share in (0.25, 0.5)
    }
    assert len(digests | {towers_of(model)["image"].tower_sha256 for model in models[:2]}) == 4


def test_the_distance_from_the_start(tmp_path: Path, models: list[Path]) -> None:
    assert distance(models[0], models[0]) == 0
    far = distance(models[1], models[0])
    halfway = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    assert distance(halfway, models[0]) == pytest.approx(far / 2, rel=1e-5)
    states = [load_file(model / WEIGHTS) for model in models[:2]]
    moved = sum(float((states[1][name] - tensor).double().square().sum()) for name, tensor in states[0].items())
    length = sum(float(tensor.double().square().sum()) for tensor in states[0].values())
    assert far == pytest.approx(math.sqrt(moved / length))
    assert distance(tiny_clip(tmp_path / "broken", broken=True), models[0]) == math.inf
    save_file({**states[1], "visual.proj": torch.ones(3, 3)}, models[1] / WEIGHTS)
    assert distance(models[1], models[0]) == math.inf, "of another shape"
    save_file({"another": torch.ones(3)}, models[1] / WEIGHTS)
    assert distance(models[1], models[0]) == math.inf, "of another kind"


def test_a_changed_or_missing_part_is_said(tmp_path: Path, models: list[Path]) -> None:
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    (models[1] / WEIGHTS).write_bytes((models[2] / WEIGHTS).read_bytes())
    (tmp_path / "whole").mkdir()
    with pytest.raises(UserError, match="mixed from other weights than it was: run the stage `average` again"):
        write_mixed(mixed, tmp_path / "whole")
    shutil.rmtree(models[1])
    with pytest.raises(UserError, match=r"mixture\.json is of .*m1, which holds no open_clip_model"):
        write_mixed(mixed, tmp_path / "whole")


def test_models_of_different_kinds_are_not_mixed(tmp_path: Path, models: list[Path]) -> None:
    state = load_file(models[1] / WEIGHTS)
    save_file({**state, "another": torch.ones(1)}, models[1] / WEIGHTS)
    with pytest.raises(UserError, match="different kinds cannot be averaged"):
        mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])


def test_counters_are_not_mixed(tmp_path: Path, models: list[Path]) -> None:
    for number, model in enumerate(models[:2]):
        state = load_file(model / WEIGHTS)
        save_file({**state, "seen": torch.tensor(10 * number)}, model / WEIGHTS)
    mixed = mixture(tmp_path / "mixed", [(models[0], 0.5), (models[1], 0.5)])
    with open_weights(mixed) as weights:
        assert int(weights.get_tensor("seen")) == 10
    assert [part["share"] for part in json.loads((mixed / MIXTURE).read_text())["parts"]] == [0.5, 0.5]
