"""Published datasets from the hub: the real huggingface_hub with a local server that has the hub's API."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.fake_hub import NOWHERE, FakeHub, ask, serve
from tests.fclip.catalog.catalog_shop import jpeg

Session = Callable[..., list[dict[str, Any]]]


def parquet(*numbers: int) -> bytes:
    """Return a Parquet file with the columns of Marqo/polyvore."""
    table = pa.table(
        {
            "item_ID": [f"{number}_1" for number in numbers],
            "image": [{"bytes": jpeg(number), "path": f"{number}.jpg"} for number in numbers],
            "text": [f"coat no {number}" for number in numbers],
            "category": ["Coats" for _ in numbers],
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


FILES = {
    "README.md": b"# Polyvore",
    "data/data-00000-of-00002.parquet": parquet(1, 2, 3),
    "data/data-00001-of-00002.parquet": parquet(4, 5),
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serve(FakeHub("Marqo/polyvore")) as hub:
        hub.commit(FILES)
        yield hub


@pytest.fixture
def session(hub: FakeHub, tmp_path: Path) -> Session:
    """`session(*steps, pin)` in a new process. A step is "pin" or "build", optionally with changes of the source."""

    def run(
        *steps: str | tuple[str, dict[str, Any]], pin: dict[str, Any] | None = None, endpoint: str | None = None
    ) -> list[dict[str, Any]]:
        named = [(step, {}) if isinstance(step, str) else step for step in steps]
        whole = [(step, {"kind": "published", "dataset": "marqo-polyvore", **change}) for step, change in named]
        arguments = [str(tmp_path), json.dumps(pin or {}), json.dumps(whole)]
        where = endpoint or hub.endpoint
        return list(ask("tests.fclip.catalog.hub_session", arguments, endpoint=where, home=tmp_path / "hf"))

    return run


def test_unchanged_hub_dataset_is_downloaded_once(hub: FakeHub, session: Session) -> None:
    unpinned, pin, again = session("build", "pin", "pin")
    assert "is not pinned" in unpinned["error"]
    assert hub.downloads == []
    assert pin == again
    assert pin["repo"] == "Marqo/polyvore"
    assert pin["revision"] == list(hub.commits)[-1]
    assert [file["name"] for file in pin["files"]] == sorted(name for name in FILES if name.endswith(".parquet"))
    assert all(len(file["sha256"]) == 64 and file["bytes"] > 0 for file in pin["files"])
    (first,) = session("build", pin=pin)
    assert first["num_products"] == 5
    assert hub.downloads == ["data-00000-of-00002.parquet", "data-00001-of-00002.parquet"]
    assert session("build", pin=pin, endpoint=NOWHERE) == [first]  # offline, from the hub's own cache
    assert hub.requests == []


def test_hub_dataset_is_read_at_the_pinned_commit(hub: FakeHub, session: Session) -> None:
    pin, built = session("pin", "build")
    assert built["num_products"] == 5
    assert len(hub.downloads) == 2
    hub.commit({**FILES, "data/data-00001-of-00002.parquet": parquet(4, 5, 6)})
    at_old = {"revision": pin["revision"]}
    old, same, moved, new, refused = session("build", ("build", at_old), "pin", "build", ("build", at_old), pin=pin)
    assert old == same == built
    assert moved["files"][0] == pin["files"][0]
    assert moved["files"][1] != pin["files"][1]
    assert new["num_products"] == 6
    assert hub.downloads == ["data-00001-of-00002.parquet"]  # the unchanged file is in the cache
    assert "changed since it was pinned" in refused["error"]


def test_incomplete_download_is_repeated_and_changed_file_is_refused(
    hub: FakeHub, session: Session, tmp_path: Path
) -> None:
    pin, built = session("pin", "build")
    cached = next((tmp_path / "hf").rglob("snapshots/*/data/data-00001*"))
    whole = cached.read_bytes()
    cached.unlink()
    assert session("build", pin=pin) == [built]
    cached.resolve().write_bytes(whole[:-1])
    assert "does not have the hub's size" in session("build", pin=pin)[0]["error"]
    cached.resolve().write_bytes(whole[:-1] + b"\0")
    assert "changed since it was pinned (files)" in session("build", pin=pin)[0]["error"]


def test_unreachable_or_missing_hub_dataset_is_an_error(hub: FakeHub, session: Session) -> None:
    (away,) = session("pin", endpoint=NOWHERE)
    assert "dataset Marqo/polyvore: the hub cannot be reached" in away["error"]
    assert "set `path` to a local copy of the files *.parquet" in away["error"]
    pin, other, absent = session("pin", ("pin", {"dataset": "marqo-kagl"}), ("pin", {"revision": "0" * 40}))
    assert "dataset Marqo/KAGL: the hub does not show it" in other["error"]
    assert "the hub has no such commit" in absent["error"]
    hub.commits.clear()
    hub.commit({"README.md": b"moved"})
    gone, empty = session("build", "pin", pin=pin)
    assert "the hub has no such commit" in gone["error"]
    assert "has no file *.parquet at" in empty["error"]


def test_local_copy_of_a_commit_has_the_same_pin(session: Session, tmp_path: Path) -> None:
    (pin,) = session("pin")
    for name, content in FILES.items():
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(content)
    copy = {"path": "copy", "revision": pin["revision"]}
    here, built = session(("pin", copy), ("build", copy), endpoint=NOWHERE)
    assert here == pin
    assert built["num_products"] == 5
