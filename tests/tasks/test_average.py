"""The stage `average`: interpolations and soups of the trained candidates, and their selection."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from fclip.averaging.registry import Recipe
from fclip.errors import UserError
from fclip.files import read_json, sha256_tree
from fclip.models.folder import WEIGHTS
from fclip.models.mixtures import mixture_parts
from fclip.models.store import load
from fclip.models.weights import distances, open_weights
from fclip.selection.result import read_selection
from tasks.average import average
from tasks.evaluate import evaluate
from tasks.select import main as select
from tasks.workspace.paths import Workspace
from tests.tiny_shop import make_shop, write_candidates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_shop(tmp_path_factory.mktemp("shop") / "shop")


@pytest.fixture
def shop(made: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    shutil.copytree(made.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def set_params(workspace: Workspace, **sections: dict[str, object]) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    for section, values in sections.items():
        params[section] |= values
    workspace.params.write_text(yaml.safe_dump(params))


def interpolated(*shares: float, soup: bool = False) -> dict[str, object]:
    return {"methods": [*([{"kind": "soup"}] if soup else []), {"kind": "interpolation", "shares": list(shares)}]}


def names(workspace: Workspace) -> list[str]:
    return [entry["name"] for entry in read_json(workspace.averages / "candidates.json")]


def test_average_without_methods_lists_the_trained_candidates(shop: Workspace) -> None:
    assert names(shop) == ["base-model", "step-000010", "step-000020"]
    entries = read_json(shop.averages / "candidates.json")
    base_model = shop.finetune / "candidates" / "base-model"
    expected = distances({entry["name"]: shop.candidate(entry["name"]) for entry in entries}, base_model)
    assert [entry["distance"] for entry in entries] == [
        pytest.approx(expected[entry["name"]], abs=1e-8) for entry in entries
    ]


def test_interpolations_lie_between_the_base_model_and_each_candidate(shop: Workspace) -> None:
    set_params(shop, average=interpolated(0.5, 0.75))
    average(shop)
    found = {entry["name"]: entry for entry in read_json(shop.averages / "candidates.json")}
    assert list(found)[3:] == [
        "step-000010-at-0.50", "step-000010-at-0.75", "step-000020-at-0.50", "step-000020-at-0.75",
    ]  # fmt: skip
    between = found["step-000020-at-0.75"]
    assert (between["step"], between["parents"]) == (20, {"base-model": 0.25, "step-000020": 0.75})
    assert between["distance"] == pytest.approx(0.75 * found["step-000020"]["distance"], rel=1e-4)
    assert load(shop.candidate("step-000020-at-0.75")).model_sha256 == between["model_sha256"]
    before = sha256_tree(shop.averages)
    average(shop)
    assert sha256_tree(shop.averages) == before


def test_soup_contains_candidates_that_raise_the_in_domain_score(
    shop: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    set_params(shop, average=interpolated(0.5, soup=True))
    with caplog.at_level("INFO", "tasks.average"):
        average(shop)
    found = {entry["name"]: entry for entry in read_json(shop.averages / "candidates.json")}
    evaluate(shop, "studio")
    rows = pq.read_table(shop.evaluation("studio")).to_pylist()
    scores = {row["candidate"]: row["value"] for row in rows if row["role"] == "select" and row["primary"]}
    assert set(scores) == set(found)
    (table,) = [message for message in caplog.messages if message.startswith("Wrote")]
    logged = {row.split()[0]: row.split()[-1] for row in table.splitlines()[2:]}
    assert logged == {
        name: f"{scores[name]:.3f}" if entry["kind"] in ("checkpoint", "soup") else "–" for name, entry in found.items()
    }
    assert f"; {0 if 'soup' in found else 1} other averages were scored and not kept" in table
    best = max(scores["step-000010"], scores["step-000020"])
    if "soup" in found:
        assert set(found["soup"]["parents"]) == {"step-000010", "step-000020"}
        assert scores["soup"] >= best
        assert found["soup-at-0.50"]["parents"] == {"base-model": 0.5, "step-000010": 0.25, "step-000020": 0.25}
    else:
        assert all("soup" not in name for name in found)


def test_selected_average_is_written_with_full_weights(shop: Workspace) -> None:
    set_params(shop, average=interpolated(0.5, 0.75), select={"rule": "mean_score"})
    average(shop)
    # Only the base model and the averages keep their scores, so that an average wins.
    for dataset in ("studio", "street"):
        evaluate(shop, dataset)
    select(shop)
    selection = read_selection(shop.selection)
    assert sha256_tree(shop.selected) == selection.selected.candidate.model_sha256
    assert not mixture_parts(shop.selected)
    averages = [entry.candidate for entry in selection.candidates if entry.candidate.kind == "interpolated"]
    assert len(averages) == 4
    assert all(candidate.val_loss is None for candidate in averages)


def test_averages_of_nonfinite_weights_are_recorded_and_never_selected(shop: Workspace) -> None:
    shutil.rmtree(shop.finetune)
    set_params(shop, average=interpolated(0.5, soup=True), select={"rule": "last"})
    write_candidates(shop, broken=True)
    entries = {entry["name"]: entry for entry in read_json(shop.averages / "candidates.json")}
    assert entries["step-000030-at-0.50"]["distance"] is None
    assert "step-000030" not in entries.get("soup", {}).get("parents", {})
    for dataset in ("studio", "street"):
        evaluate(shop, dataset)
    select(shop)
    selection = read_selection(shop.selection)
    assert not selection.candidate("step-000030-at-0.50").eligible
    assert selection.winner == "step-000020"


def test_average_without_candidates_names_the_command_to_run(shop: Workspace) -> None:
    shutil.rmtree(shop.finetune)
    with pytest.raises(UserError, match="dvc repro finetune"):
        average(shop)


def test_base_model_with_other_tensor_names_can_be_averaged(shop: Workspace) -> None:
    base_model = shop.finetune / "candidates" / "base-model"
    torch.save(load_file(base_model / WEIGHTS), base_model / "open_clip_pytorch_model.bin")
    (base_model / WEIGHTS).unlink()
    set_params(shop, average=interpolated(0.5))
    average(shop)
    between = load_file(shop.finetune / "candidates" / "step-000010" / WEIGHTS)
    with open_weights(shop.candidate("step-000010-at-0.50")) as weights:
        mixed = weights.get_tensor("visual.proj")
    before = load(base_model).model.state_dict()["visual.proj"]
    torch.testing.assert_close(mixed, (before + between["visual.proj"]) / 2)


def test_averages_that_cannot_be_made_are_left_out_with_a_reason(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    offered = {
        "unknown": {"step-000099": 1.0},
        "nan": {"base-model": float("nan"), "step-000020": 1.0},
        "half": {"step-000010": 0.5},
        "fine": {"step-000010": 0.5, "step-000020": 0.5},
        "shapes": {"step-000010": 0.5, "base-model": 0.5},
    }
    state = load_file(shop.candidate("base-model") / WEIGHTS)
    state["visual.proj"] = state["visual.proj"][:, :-1].contiguous()
    save_file(state, shop.candidate("base-model") / WEIGHTS)
    methods = {
        "soup": SimpleNamespace(recipes=lambda *_: []),
        "interpolation": SimpleNamespace(
            recipes=lambda *_: [Recipe(name, "interpolation", parents) for name, parents in offered.items()]
        ),
    }
    monkeypatch.setattr("tasks.average.averaging_methods", lambda: methods)
    set_params(shop, average=interpolated(0.5, soup=True))
    with caplog.at_level("INFO"):
        average(shop)
    assert names(shop) == ["base-model", "step-000010", "step-000020", "fine"]
    assert [path.name for path in (shop.averages / "candidates").iterdir()] == ["fine"]
    for expected in (
        "The method soup offers no average of these candidates",
        "The average unknown of the method interpolation is left out: its parent step-000099 is not a candidate",
        "The average nan of the method interpolation is left out: its shares sum to nan, not to 1",
        "The average half of the method interpolation is left out: its shares sum to 0.5, not to 1",
        "models with different tensors cannot be averaged",
    ):
        assert expected in caplog.text
