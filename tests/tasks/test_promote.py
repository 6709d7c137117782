"""The gate with a registry: champion, pin and refusals. The scores are made up."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fclip.audits.result import AuditResult
from fclip.errors import UserError
from fclip.files import read_json
from fclip.registry import tags
from fclip.registry.backend import connect
from fclip.registry.decisions import MAX_REASON, Decision, decisions, new_decision
from fclip.registry.log import Receipt, RunRecord, register_version
from fclip.registry.store import champion, find_version, set_version_tag, versions
from fclip.selection.gate import GateComparison
from tasks.promote import Promotion, refuse, rollback
from tasks.promote import promote as promote_verified
from tasks.workspace.paths import Workspace
from tests.small_audits import made_up_result

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


def audits(champion: float, challenger: float) -> Callable[..., tuple[AuditResult, ...]]:
    """Return an audit function that gives these headlines, whose limit is 0.1."""
    return lambda *_: (made_up_result("champion", champion), made_up_result("challenger", challenger))


def promote(*arguments: Any, **options: Any) -> Promotion:
    """Promote fake weights, which no consumer can load and no audit can encode with."""
    usable = {"verify": lambda workspace, version: None, "audit": audits(0.02, 0.01)}
    return promote_verified(*arguments, **{**usable, **options})


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


def test_a_challenger_that_fails_an_audit_is_not_promoted(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"), audit=never)
    challenger = select(workspace, "b")
    refused = promote(workspace, challenger, compare=BETTER, audit=audits(0.02, 0.3))
    assert not refused.moved
    assert "stays challenger to version 1: it fails the audit spread on studio test" in refused.reason
    assert [result.model for result in refused.audits] == ["champion", "challenger"]
    assert champion(NAME).version == 1
    both = promote(workspace, challenger, compare=WORSE, audit=audits(0.02, 0.3))
    assert "significantly worse on street" in both.reason
    assert "it fails the audit spread" in both.reason

    override = by("anna", "override", "no one asks that")
    moved = promote(workspace, challenger, compare=BETTER, audit=audits(0.02, 0.3), override=override)
    assert moved.moved
    assert "although it fails the audit spread on studio test" in moved.reason
    assert decisions(champion(NAME)) == (override,)


def test_a_challenger_that_fails_an_audit_like_the_champion_is_promoted(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    moved = promote(workspace, select(workspace, "b"), compare=BETTER, audit=audits(0.3, 0.3))
    assert moved.moved
    assert len(moved.audits) == 2


def by(person: str, kind: str, reason: str) -> Decision:
    """A decision of `person`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCLIP_USER", person)
        return new_decision(kind, reason)


def description(version: int) -> str:
    return connect().get_model_version(NAME, str(version)).description or ""


def test_override_promotes_against_the_gate_and_is_recorded(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    override = by("anna", "override", "  the camera\nchanged ")
    promotion = promote(workspace, select(workspace, "b"), override=override, compare=WORSE)
    assert promotion.moved
    assert promotion.comparisons
    assert "promoted against the gate by anna" in promotion.reason
    assert "the camera changed (although significantly worse on street" in promotion.reason
    assert decisions(champion(NAME)) == (Decision("override", "the camera changed", "anna", override.at),)
    assert description(2).startswith(f"**Decision.** {override.words}\n\n")
    assert decisions(find_version(NAME, "1")) == ()


def test_override_that_is_not_needed_is_not_recorded(workspace: Workspace) -> None:
    override = by("anna", "override", "in a hurry")
    first = promote(workspace, select(workspace, "a"), override=override)
    second = promote(workspace, select(workspace, "b"), override=override, compare=BETTER)
    again = promote(workspace, select(workspace, "b"), override=override, compare=never)
    assert first.moved
    assert second.moved
    assert "no override was needed" in first.reason
    assert "significantly better on street" in second.reason
    assert "no override was needed" in second.reason
    assert "already the champion" in again.reason
    assert not any(decisions(version) for version in versions(NAME))
    assert description(2) == ""


def test_a_refused_version_is_promoted_only_by_an_override(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    challenger = select(workspace, "b")
    refused = refuse(workspace, by("anna", "refuse", "it confuses boots and sandals"))
    assert refused == find_version(NAME, "2").pin
    assert find_version(NAME, "challenger").version == 2

    kept = promote(workspace, select(workspace, "b"), compare=never)  # as a scheduled run does
    assert not kept.moved
    assert "it was refused by anna" in kept.reason
    assert "it confuses boots and sandals" in kept.reason
    assert champion(NAME).version == 1
    assert "**Decision.** refused by anna" in description(2)

    moved = promote(workspace, challenger, override=by("bert", "override", "fixed"), compare=BETTER)
    assert moved.moved
    assert "promoted against the gate by bert" in moved.reason
    assert "although it was refused by anna" in moved.reason
    assert [(each.kind, each.by) for each in decisions(champion(NAME))] == [("refuse", "anna"), ("override", "bert")]
    assert description(2).count("**Decision.**") == 1
    assert "bert" in description(2)


def test_only_a_registered_challenger_can_be_refused(workspace: Workspace) -> None:
    decision = by("anna", "refuse", "too slow")
    with pytest.raises(UserError, match="nothing to refuse"):
        refuse(workspace, decision)
    promote(workspace, select(workspace, "a"))
    with pytest.raises(UserError, match=r"version 1 of fclip-test is the champion .* `fclip rollback`"):
        refuse(workspace, decision)
    assert decisions(champion(NAME)) == ()


def test_rollback_skips_a_refused_version(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    promote(workspace, select(workspace, "b"), compare=BETTER)
    promote(workspace, select(workspace, "c"), compare=BETTER)
    select(workspace, "b")
    refuse(workspace, by("anna", "refuse", "customers complained"))
    assert rollback(workspace).version == 1


def test_a_decision_needs_a_reason_and_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    for reason in ("", " \n\x1b"):
        with pytest.raises(UserError, match="`--refuse` needs a reason"):
            new_decision("refuse", reason)
    with pytest.raises(UserError, match="shorten it to 500"):
        new_decision("override", "x" * (MAX_REASON + 1))
    monkeypatch.delenv("FCLIP_USER", raising=False)
    monkeypatch.setenv("LOGNAME", "carla")
    assert new_decision("refuse", "x").by == "carla"

    def nobody() -> str:
        raise OSError("no username set in the environment")

    monkeypatch.setattr("getpass.getuser", nobody)
    with pytest.raises(UserError, match="set FCLIP_USER"):
        new_decision("refuse", "x")


@pytest.mark.parametrize("text", ["no JSON", "3", '["refuse"]', '[{"kind": "like", "reason": "", "by": "", "at": ""}]'])
def test_a_tag_that_was_changed_by_hand_is_named(workspace: Workspace, text: str) -> None:
    select(workspace, "a")
    set_version_tag(NAME, 1, tags.DECISIONS, text)
    with pytest.raises(UserError, match=r"the tag fclip.decisions of version 1 of fclip-test .* delete it"):
        decisions(find_version(NAME, "1"))


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


def test_rolled_back_weights_are_promoted_only_by_an_override(workspace: Workspace) -> None:
    promote(workspace, select(workspace, "a"))
    promote(workspace, select(workspace, "b"), compare=BETTER)

    back = rollback(workspace)

    assert (back.version, back.left) == (1, 2)
    assert read_json(workspace.champion_pin)["version"] == 1
    refused = promote(workspace, select(workspace, "b"), compare=never)
    assert not refused.moved
    assert "rolled back" in refused.reason
    assert champion(NAME).version == 1

    override = by("anna", "override", "the index was at fault")
    overridden = promote(workspace, select(workspace, "b"), override=override, compare=BETTER)
    assert overridden.moved
    assert "although its weights were rolled back (version 2)" in overridden.reason
    assert decisions(champion(NAME)) == (override,)
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


@pytest.mark.parametrize("override", [None, Decision("override", "now", "anna", "2026-03-02T09:14:00+00:00")])
def test_a_version_that_consumers_cannot_use_stays_challenger(workspace: Workspace, override: Decision | None) -> None:
    promote(workspace, select(workspace, "a"))
    pin = workspace.champion_pin.read_bytes()
    challenger = select(workspace, "b")
    refused = promote_verified(
        workspace,
        challenger,
        override=override,
        compare=WORSE if override else BETTER,
        audit=audits(0.02, 0.01),
        verify=lambda space, version: f"{version.version} is broken",
    )
    assert not refused.moved
    assert refused.reason.startswith("version 2 stays challenger: 2 is broken; delete it")
    assert champion(NAME).version == 1
    assert workspace.champion_pin.read_bytes() == pin
    assert decisions(find_version(NAME, "2")) == ()
