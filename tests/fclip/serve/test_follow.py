"""The service follows the pointers, and never answers one request from two models."""

import json
import shutil
import threading

from starlette.testclient import TestClient

from fclip.runtime.loading import load
from tests.fclip.serve.conftest import Connect, Shop


def index_of(client: TestClient, **body: object) -> tuple[str, str, int]:
    reply = client.post("/v1/search", json={"text": "red", **body})
    assert reply.status_code == 200, reply.text
    found = reply.json()
    assert reply.headers["fclip-index"] == found["index"]
    assert reply.headers["fclip-model-sha256"] == found["model_sha256"]
    return found["index"], found["model_sha256"], found["num_matching"]


def test_new_index_answers_without_a_restart(client: TestClient, shop: Shop) -> None:
    before = index_of(client)
    name = shop.publish("champion", numbers=range(5), catalog="d")
    after = index_of(client)
    assert after == (name, before[1], 20)
    other = shop.publish("champion", "other", catalog="e")
    assert index_of(client)[0] == other
    assert index_of(client)[1] == load(shop.models["other"]).manifest.model_sha256
    assert "fclip_index_switches 2.0" in client.get("/metrics").text


def test_challenger_comes_and_goes(client: TestClient, shop: Shop) -> None:
    assert client.post("/v1/search", json={"text": "red", "model": "challenger"}).status_code == 404
    name = shop.publish("challenger", "other")
    assert index_of(client, model="challenger")[0] == name
    assert index_of(client)[0] != name
    shop.published.withdraw("challenger")
    reply = client.post("/v1/search", json={"text": "red", "model": "challenger"})
    assert reply.status_code == 404
    assert "fclip publish --challenger" in reply.json()["error"]["message"]


def test_damaged_or_missing_pointer_leaves_the_open_index_answering(client: TestClient, shop: Shop) -> None:
    before = index_of(client)
    pointer = shop.published.pointer_file("champion")
    content = pointer.read_text()
    for damage in ("{", json.dumps({"current": 3}), content.replace(before[0], "absent")):
        pointer.write_text(damage)
        assert index_of(client) == before
        assert client.get("/readyz").status_code == 200
    pointer.unlink()
    assert index_of(client) == before
    pointer.write_text(content)
    assert index_of(client) == before


def test_service_without_an_index_lives_and_begins_to_answer(connect: Connect, shop: Shop) -> None:
    pointer = shop.published.pointer_file("champion")
    hidden = pointer.rename(pointer.with_suffix(".hidden"))
    with connect() as client:
        assert client.get("/healthz").status_code == 200
        for reply in (client.get("/readyz"), client.post("/v1/search", json={"text": "red"}), client.get("/")):
            assert reply.status_code == 503
            assert "no index of the champion is published" in reply.json()["error"]["message"]
        assert client.get("/v1/models").json()["data"] == []
        hidden.rename(pointer)
        assert client.get("/readyz").status_code == 200


def test_answers_are_never_mixed_while_the_pointer_moves(connect: Connect, shop: Shop) -> None:
    """Two models take turns. Each result must be what its model finds in its index."""
    tiny = shop.published.pointer_file("champion").read_text()
    shop.publish("champion", "other", catalog="e")
    other = shop.published.pointer_file("champion").read_text()
    with connect() as client:
        expected = {}
        for pointer in (tiny, other):
            replace_pointer(shop, pointer)
            found = client.post("/v1/search", json={"text": "a red picture", "k": 40}).json()
            expected[found["model_sha256"]] = [(each["product_id"], each["similarity"]) for each in found["results"]]
        assert len(expected) == 2
        stop = threading.Event()

        def move() -> None:
            while not stop.is_set():
                for pointer in (tiny, other):
                    replace_pointer(shop, pointer)
                    stop.wait(0.05)

        mover = threading.Thread(target=move)
        mover.start()
        seen = set()
        try:
            for _ in range(60):
                reply = client.post("/v1/search", json={"text": "a red picture", "k": 40})
                assert reply.status_code == 200
                found = reply.json()
                results = [(each["product_id"], each["similarity"]) for each in found["results"]]
                wanted = expected[found["model_sha256"]]
                assert [product for product, _ in results] == [product for product, _ in wanted]
                assert max(abs(a - b) for (_, a), (_, b) in zip(results, wanted, strict=True)) < 1e-4
                seen.add(found["model_sha256"])
        finally:
            stop.set()
            mover.join()
        assert len(seen) == 2


def replace_pointer(shop: Shop, content: str) -> None:
    path = shop.published.pointer_file("champion")
    temporary = path.with_suffix(".new")
    temporary.write_text(content)
    temporary.replace(path)


def test_product_that_is_taken_down_is_not_served(client: TestClient, shop: Shop) -> None:
    from fclip.search.published import Exclusion

    best = client.post("/v1/search", json={"text": "red", "k": 1}).json()["results"][0]["product_id"]
    shop.published.write_exclusions([Exclusion("shop", best, "2026-01-01")])
    found = client.post("/v1/search", json={"text": "red", "k": 40}).json()
    assert best not in {each["product_id"] for each in found["results"]}
    assert found["num_matching"] == 39


def test_images_of_a_workspace_without_packs_are_missing_and_the_search_goes_on(client: TestClient, shop: Shop) -> None:
    shutil.rmtree(shop.root / "data")
    (result,) = client.post("/v1/search", json={"text": "red", "k": 1}).json()["results"]
    reply = client.get(result["image"])
    assert reply.status_code == 404
    assert "dvc pull" in reply.json()["error"]["message"]
