"""Registering, finding, fetching, crowning and rolling back, on weights that nothing loads."""

from dataclasses import replace
from pathlib import Path

import pytest

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.registry import tags
from fclip.registry.backend import connect, registry_lock, tracking_uri
from fclip.registry.champion_alias import restore_previous, set_champion
from fclip.registry.log import Dataset, Point, RunRecord, flatten, register_version
from fclip.registry.store import champion, download_model, find_version, set_version_tag, versions
from fclip.registry.versions import VersionPin

NAME = "fclip-test"
RECORD = RunRecord(
    params={"finetune.epochs": "2", "finetune.betas": "[0.9, 0.98]"},
    points=(Point("train/loss", 3.0, 1), Point("train/loss", 2.0, 2), Point("selected/street/val/acc1", 0.5)),
    headline={"street.val.classification.acc1": 0.5},
    tags={tags.GIT_COMMIT: "abc"},
    datasets=(Dataset("street", "f" * 64, "val: select", "sample"),),
)


def register(folder: Path):
    return register_version(NAME, folder, RECORD, run_name="test")


def promote(version: int):
    with registry_lock(NAME):
        return set_champion(connect(), NAME, version)


def roll_back():
    with registry_lock(NAME):
        return restore_previous(connect(), NAME)


def test_a_version_says_where_it_comes_from_and_stays_out_of_the_current_folder(
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
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sha256_tree(download_model(version.pin, tmp_path / "got" / "a")) == receipt.model_sha256


def test_the_same_weights_make_no_second_version(make_weights) -> None:
    first, second = register(make_weights("a")), register(make_weights("b"))
    assert (first.version, second.version) == (1, 2)

    again = register(make_weights("a"))

    assert (again.version, again.created) == (1, False)
    assert find_version(NAME, "challenger").version == 1
    assert len(versions(NAME)) == 2


def test_the_champion_does_not_become_its_own_challenger(make_weights) -> None:
    promote(register(make_weights("a")).version)
    register(make_weights("b"))

    assert register(make_weights("a")).version == 1

    assert find_version(NAME, "challenger").version == 2
    assert champion(NAME).version == 1


def test_a_version_is_found_by_its_number_or_an_alias(make_weights) -> None:
    promote(register(make_weights("a")).version)
    register(make_weights("b"))
    assert [find_version(NAME, name).version for name in ("1", "champion", "2", "challenger")] == [1, 1, 2, 2]
    with pytest.raises(UserError, match=r"fclip-test has no version or alias `best`: .* 2 challenger, 1 champion"):
        find_version(NAME, "best")
    with pytest.raises(UserError, match=r"nothing has no version or alias `1`: .* are none"):
        find_version("nothing", "1")


def test_a_download_is_verified_and_leaves_nothing_when_refused(make_weights, tmp_path: Path) -> None:
    register(make_weights("a"))
    pin = VersionPin(NAME, 1, "0" * 64)
    out_dir = tmp_path / "got" / "a"

    with pytest.raises(UserError, match="are pinned"):
        download_model(pin, out_dir)
    with pytest.raises(UserError, match="version 7 of fclip-test could not be fetched"):
        download_model(replace(pin, version=7), out_dir)

    assert list(out_dir.parent.iterdir()) == []


def test_rollback_goes_to_the_last_champion_and_marks_the_one_it_leaves(make_weights) -> None:
    for name in "abc":
        promote(register(make_weights(name)).version)
    assert champion(NAME).succeeds == 2

    rolled = roll_back()

    assert (rolled.left.version, rolled.version.version) == (3, 2)
    assert champion(NAME).version == 2
    assert {entry.version for entry in versions(NAME) if entry.rolled_back} == {3}
    assert roll_back().version.version == 1
    with pytest.raises(UserError, match="nothing to roll back to"):
        roll_back()
    assert champion(NAME).version == 1


def test_rollback_passes_over_versions_that_were_rolled_back_themselves(make_weights) -> None:
    for name in "abc":
        register(make_weights(name))
    promote(1)
    promote(2)
    roll_back()  # 2 is out, 1 is champion
    promote(3)  # after 1
    promote(2)  # overruled: no longer out
    assert not champion(NAME).rolled_back
    assert roll_back().version.version == 3
    set_version_tag(NAME, 1, tags.ROLLED_BACK, "true")
    with pytest.raises(UserError, match="nothing to roll back to"):
        roll_back()


def test_rollback_needs_a_champion(make_weights) -> None:
    register(make_weights("a"))
    with pytest.raises(UserError, match="has no champion"):
        roll_back()


def test_parameters_are_flat_and_readable() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": "x", "f": {}, "g": None}) == {
        "a.b": "1",
        "a.c.d": "[1, 2]",
        "e": "x",
        "f": "{}",
        "g": "null",
    }
