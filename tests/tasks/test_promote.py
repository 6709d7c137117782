"""The gate with a registry: champion, pin and refusals. The scores are made up."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fclip.errors import UserError
from fclip.files import read_json
from fclip.registry.log import Receipt, RunRecord, register_version
from fclip.registry.store import champion, versions
from fclip.selection.gate import GateComparison
from tasks.promote import Promotion, rollback
from tasks.promote import promote as promote_verified
from tasks.workspace.paths import Workspace

NAME = "fclip-test"
PARAMS = "base: {workspace: test, registered_model: fclip-test, seed: 0}\n"


@pytest.fixture
def workspace(tmp_path: Path, own_registry: Path) -> Workspace:
    space = Workspace(tmp_path / "space")
    space.root.mkdir()
    space.params.write_text(PARAMS)
    return space


def select(workspace: Workspace, name: str) -> Receipt:
    """Write weights named `name` to models/selected and register them."""
    shutil.rmtree(workspace.selected, ignore_errors=True)
    workspace.selected.mkdir(parents=True)
    (workspace.selected / "open_clip_model.safetensors").write_bytes(name.encode())
    record = RunRecord(params={}, points=(), headline={}, tags={})
    return register_version(NAME, workspace.selected, record, run_name=name)


def scores(low: float, high: float):
    """Return a comparison function that gives this interval on one dataset and checks its arguments."""

    def compare(workspace: Workspace, champion_dir: Path, challenger_dir: Path) -> tuple[GateComparison, ...]:
        assert challenger_dir == workspace.selected
        assert (champion_dir / "open_clip_model.safetensors").is_file()
        middle = (low + high) / 2
        return (
            GateComparison("street", "val", "classification.acc1", False, 0.5, 0.5 + middle, middle, low, high, 99),
        )

    return compare


def promote(*arguments: Any, **options: Any) -> Promotion:
    """Promote fake weights, which no consumer can load."""
    return promote_verified(*arguments, verify=lambda workspace, version: None, **options)


def never(*_: object) -> tuple[GateComparison, ...]:
    raise AssertionError("nothing is to be compared")


BETTER, WORSE, SAME = scores(0.01, 0.05), scores(-0.05, -0.01), scores(-0.02, 0.02)


def test_first_version_becomes_champion_and_is_pinned(workspace: Workspace) -> None:
    receipt = select(workspace, "a")
    promotion = promote(workspace, receipt, compare=never)
    assert (promotion.moved, promotion.version, promotion.previous, promotion.comparisons) == (True, 1, None, ())
    assert read_json(workspace.champion_pin) == {
        "registered_model": NAME,
        "version": 1,
        "model_sha256": receipt.model_sha256,
    }
    again = promote(workspace, receipt, compare=never)
    assert not again.moved
    assert "already" in again.reason


def test_only_a_significantly_better_challenger_is_promoted(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    challenger = select(workspace, "b")
    pin = workspace.champion_pin.read_bytes()

    for compare in (WORSE, SAME):
        refused = promote(workspace, challenger, compare=compare)
        assert not refused.moved
        assert refused.comparisons
        assert "stays challenger" in refused.reason
        assert champion(NAME).version == 1
        assert workspace.champion_pin.read_bytes() == pin

    moved = promote(workspace, challenger, compare=BETTER)
    assert (moved.moved, moved.previous, moved.version) == (True, 1, 2)
    assert champion(NAME).succeeds == 1
    assert read_json(workspace.champion_pin)["version"] == 2


def test_force_overrides_the_gate(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    forced = promote(workspace, select(workspace, "b"), force=True, compare=WORSE)
    assert forced.moved
    assert "forced, although" in forced.reason


def test_receipt_of_other_weights_is_refused(workspace: Workspace) -> None:
    old = select(workspace, "a")
    select(workspace, "b")
    with pytest.raises(UserError, match="only the selected model can be promoted"):
        promote(workspace, old, compare=never)
    shutil.rmtree(workspace.selected)
    with pytest.raises(UserError, match="has none"):
        promote(workspace, old, compare=never)
    with pytest.raises(UserError, match="the registry has no version 9"):
        promote(workspace, replace(select(workspace, "b"), version=9), compare=never)
    assert champion(NAME) is None
    assert not workspace.champion_pin.exists()


def test_rolled_back_weights_are_promoted_only_by_force(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    promote(workspace, select(workspace, "b"), compare=BETTER)

    back = rollback(workspace)

    assert (back.version, back.left) == (1, 2)
    assert read_json(workspace.champion_pin)["version"] == 1
    refused = promote(workspace, select(workspace, "b"), compare=never)
    assert not refused.moved
    assert "rolled back" in refused.reason
    assert champion(NAME).version == 1

    forced = promote(workspace, select(workspace, "b"), force=True, compare=BETTER)
    assert forced.moved
    assert champion(NAME).version == 2
    assert not any(entry.rolled_back for entry in versions(NAME))


def test_rollback_without_a_previous_champion_changes_no_state(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    pin = workspace.champion_pin.read_bytes()
    with pytest.raises(UserError, match="nothing to roll back to"):
        rollback(workspace)
    assert champion(NAME).version == 1
    assert workspace.champion_pin.read_bytes() == pin


def test_promote_writes_the_pin_after_a_crash(workspace: Workspace) -> None:
    receipt = select(workspace, "a")
    promote(workspace, receipt)
    workspace.champion_pin.write_text("{}\n")
    promote(workspace, receipt, compare=never)
    assert read_json(workspace.champion_pin)["version"] == 1


@pytest.mark.parametrize("force", [False, True])
def test_a_version_that_consumers_cannot_use_stays_challenger(workspace: Workspace, force: bool) -> None:
    promote(workspace, select(workspace, "a"))
    pin = workspace.champion_pin.read_bytes()
    challenger = select(workspace, "b")
    refused = promote_verified(
        workspace, challenger, force=force, compare=BETTER, verify=lambda space, version: f"{version.version} is broken"
    )
    assert not refused.moved
    assert refused.reason.startswith("version 2 stays challenger: 2 is broken; delete it")
    assert champion(NAME).version == 1
    assert workspace.champion_pin.read_bytes() == pin
