"""Remembered results and the signatures of files that they depend on."""

import os
import time
from pathlib import Path

import pytest

from fclip.files import SECONDS_TO_SETTLE, sha256_code, signatures
from fclip.remembered import recall, remember


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, and a clock that is an hour later, so that the file is settled."""
    path = tmp_path / "table.csv"
    path.write_text("one")
    now = time.time()
    monkeypatch.setattr("fclip.files.time.time", lambda: now + 3600)
    return path


def test_a_result_is_recalled_for_the_same_state_only(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    assert recall(path, ["a", 1]) is None
    remember(path, ["a", 1], {"value": 2})
    assert recall(path, ("a", 1)) == {"value": 2}
    assert recall(path, ["a", 2]) is None
    remember(path, None, {"value": 3})
    assert recall(path, None) is None
    assert recall(path, ["a", 1]) == {"value": 2}


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("2", "7"), lambda _: "[]"])
def test_a_damaged_memory_is_not_used(tmp_path: Path, damage) -> None:
    path = tmp_path / "memory.json"
    remember(path, "state", {"value": 2})
    path.write_text(damage(path.read_text()))
    assert recall(path, "state") is None


def test_a_file_that_just_changed_or_is_missing_has_no_signature(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("one")
    assert signatures([path]) is None
    assert signatures([tmp_path / "none"]) is None


def test_the_signature_of_a_settled_file_stays(file: Path) -> None:
    assert signatures([file]) is not None
    assert signatures([file]) == signatures([file])


@pytest.mark.parametrize("replace", ["in place", "by a new file", "by a link"])
def test_a_file_replaced_with_the_same_size_and_time_has_another_signature(file: Path, replace: str) -> None:
    before = signatures([file])
    stat = file.stat()
    other = file.with_name("other")
    other.write_text("two")
    match replace:
        case "in place":
            file.write_text("two")
        case "by a new file":
            other.replace(file)
        case "by a link":
            file.unlink()
            file.symlink_to(other)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert signatures([file]) != before


def test_after_the_clock_goes_back_a_file_has_no_signature(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signatures([file]) is not None
    monkeypatch.setattr("fclip.files.time.time", lambda: file.stat().st_ctime - 60)
    assert signatures([file]) is None
    monkeypatch.setattr("fclip.files.time.time", lambda: file.stat().st_ctime + SECONDS_TO_SETTLE / 2)
    assert signatures([file]) is None


def test_the_digest_of_code_ignores_compiled_files(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inner").mkdir(parents=True)
    (package / "inner" / "module.py").write_text("a = 1")
    before = sha256_code([package])
    (package / "inner" / "__pycache__").mkdir()
    (package / "inner" / "__pycache__" / "module.pyc").write_bytes(b"x")
    assert sha256_code([package]) == before
    (package / "inner" / "module.py").write_text("a = 2")
    assert sha256_code([package]) != before
