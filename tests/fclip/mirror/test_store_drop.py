"""Deletion of objects from the mirror, for a takedown."""

from pathlib import Path

from fclip.mirror.store import MirrorEntry, MirrorStore


def test_dropped_object_is_deleted_with_its_entries(tmp_path: Path) -> None:
    store = MirrorStore(tmp_path)
    for address, content in (("https://a.example/1", b"one"), ("https://a.example/2", b"two")):
        with store.incoming() as incoming:
            incoming.write(content)
            store.put(address, MirrorEntry("stored", incoming.keep(), len(content), etag="x"))
    first = store.get("https://a.example/1")
    assert first is not None
    assert store.drop([first.sha256, "0" * 64]) == 1
    assert not store.path(first).exists()
    assert store.get("https://a.example/1") is None
    assert store.get("https://a.example/2") is not None
