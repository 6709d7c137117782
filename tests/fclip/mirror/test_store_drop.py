"""What a takedown deletes of the mirror."""

from pathlib import Path

from fclip.mirror.store import Entry, Store


def test_a_dropped_object_is_gone_and_its_address_is_asked_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for address, content in (("https://a.example/1", b"one"), ("https://a.example/2", b"two")):
        with store.incoming() as incoming:
            incoming.write(content)
            store.put(address, Entry("stored", incoming.keep(), len(content), etag="x"))
    first = store.get("https://a.example/1")
    assert first is not None
    assert store.drop([first.sha256, "0" * 64]) == 1
    assert not store.path(first).exists()
    assert store.get("https://a.example/1") is None
    assert store.get("https://a.example/2") is not None
