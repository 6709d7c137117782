"""Register, find, download, promote and roll back versions with fake weights."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.registry import tags
from fclip.registry.backend import connect, registry_lock, tracking_uri
from fclip.registry.champion_alias import restore_previous, set_champion
from fclip.registry.log import MetricPoint, RunDataset, RunRecord, flatten, register_version
from fclip.registry.store import champion, download_model, find_version, set_version_tag, versions
from fclip.registry.versions import VersionPin

NAME = "fclip-test"
RECORD = RunRecord(
    params={"finetune.epochs": "2", "finetune.betas": "[0.9, 0.98]"},
    points=(
        MetricPoint("train/loss", 3.0, 1),
        MetricPoint("train/loss", 2.0, 2),
        MetricPoint("selected/street/val/acc1", 0.5),
    ),
    headline={"street.val.classification.acc1": 0.5},
    tags={tags.GIT_COMMIT: "abc"},
    datasets=(RunDataset("street", "f" * 64, "val: select", "sample"),),
)


def register(folder: Path):
    return register_version(NAME, folder, RECORD, run_name="test")


def promote(version: int):
    with registry_lock(NAME):
        return set_champion(connect(), NAME, version)


def roll_back():
    with registry_lock(NAME):
        return restore_previous(connect(), NAME)


def test_registered_version_has_its_lineage_and_writes_nothing_to_the_current_folder(
    make_weights, registry_home: Path, tmp_path: Path
) -> None:
    assert versions(NAME) == []
    assert champion(NAME) is None
    folder = make_weights("a")

    receipt = register(folder)

    assert (receipt.version, receipt.created, receipt.model_sha256) == (1, True, sha256_tree(folder))
    (version,) = versions(NAME)
    assert version.aliases == (tags.CHALLENGER,)
    assert version.model_sha256 == receipt.model_sha256
    assert version.tags[tags.GIT_COMMIT] == "abc"
    assert version.headline == RECORD.headline
    run = connect().get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params.items() >= RECORD.params.items()
    assert run.data.metrics["train/loss"] == 2.0
    assert [(m.step, m.value) for m in connect().get_metric_history(version.run_id, "train/loss")] == [
        (1, 3.0),
        (2, 2.0),
    ]
    assert run.inputs.dataset_inputs[0].dataset.name == "street"
    assert tracking_uri() == f"sqlite:///{registry_home / 'mlflow.db'}"
    assert list((tmp_path / "cwd").iterdir()) == []
    assert sha256_tree(download_model(version.pin, tmp_path / "got" / "a")) == receipt.model_sha256


def test_versions_are_read_again_only_after_a_change(make_weights, monkeypatch: pytest.MonkeyPatch) -> None:
    register(make_weights("a"))
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr("fclip.files.time.time", lambda: now + 3600)  # the database is settled
        before = versions(NAME)
        patch.setattr("fclip.registry.store.connect", lambda: pytest.fail("the registry was read again"))
        assert versions(NAME) == before
        assert champion(NAME) is None
    promote(1)
    (after,) = versions(NAME)
    assert (after.version, after.is_champion) == (1, True)
    assert champion(NAME) == after


def test_same_weights_do_not_create_a_second_version(make_weights) -> None:
    first, second = register(make_weights("a")), register(make_weights("b"))
    assert (first.version, second.version) == (1, 2)

    again = register(make_weights("a"))

    assert (again.version, again.created) == (1, False)
    assert find_version(NAME, "challenger").version == 1
    assert len(versions(NAME)) == 2


def test_champion_does_not_become_challenger(make_weights) -> None:
    promote(register(make_weights("a")).version)
    register(make_weights("b"))

    assert register(make_weights("a")).version == 1

    assert find_version(NAME, "challenger").version == 2
    assert champion(NAME).version == 1


def test_version_is_found_by_number_or_alias(make_weights) -> None:
    promote(register(make_weights("a")).version)
    register(make_weights("b"))
    assert [find_version(NAME, name).version for name in ("1", "champion", "2", "challenger")] == [1, 1, 2, 2]
    with pytest.raises(UserError, match=r"fclip-test has no version or alias `best`; .* 2 challenger, 1 champion"):
        find_version(NAME, "best")
    with pytest.raises(UserError, match=r"nothing has no version or alias `1`; .* are none"):
        find_version("nothing", "1")


def test_download_is_verified_and_writes_nothing_if_refused(make_weights, tmp_path: Path) -> None:
    register(make_weights("a"))
    pin = VersionPin(NAME, 1, "0" * 64)
    out_dir = tmp_path / "got" / "a"

    with pytest.raises(UserError, match="are pinned"):
        download_model(pin, out_dir)
    with pytest.raises(UserError, match="version 7 of fclip-test could not be fetched"):
        download_model(replace(pin, version=7), out_dir)

    assert list(out_dir.parent.iterdir()) == []


def test_rollback_restores_the_previous_champion_and_marks_the_current_one(make_weights) -> None:
    for name in "abc":
        promote(register(make_weights(name)).version)
    assert champion(NAME).succeeds == 2

    rolled = roll_back()

    assert (rolled.rolled_back.version, rolled.champion.version) == (3, 2)
    assert champion(NAME).version == 2
    assert {entry.version for entry in versions(NAME) if entry.rolled_back} == {3}
    assert roll_back().champion.version == 1
    with pytest.raises(UserError, match="nothing to roll back to"):
        roll_back()
    assert champion(NAME).version == 1


def test_rollback_skips_versions_that_were_rolled_back(make_weights) -> None:
    for name in "abc":
        register(make_weights(name))
    promote(1)
    promote(2)
    roll_back()  # 2 is marked, 1 is champion
    promote(3)  # after 1
    promote(2)  # promoted again: no longer marked
    assert not champion(NAME).rolled_back
    assert roll_back().champion.version == 3
    set_version_tag(NAME, 1, tags.ROLLED_BACK, "true")
    with pytest.raises(UserError, match="nothing to roll back to"):
        roll_back()


def test_rollback_needs_a_champion(make_weights) -> None:
    register(make_weights("a"))
    with pytest.raises(UserError, match="has no champion"):
        roll_back()


def test_flatten_parameters() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "x", "f": {}, "g": None}) == {
        "a.b": "1",
        "a.c.d": "[1, 2]",
        "e": "x",
        "f": "{}",
        "g": "null",
    }
