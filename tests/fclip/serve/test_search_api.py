"""`/v1/search`, `/v1/similar`, pictures and suggestions, against the index in this process."""

import base64
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fclip.search.index import Index
from fclip.search.query import Query
from tests.fclip.serve.conftest import SCRIPT, Connect, Shop, picture


def search(client: TestClient, **body: object) -> dict:
    reply = client.post("/v1/search", json=body)
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def ids(reply: dict) -> list[str]:
    return [result["product_id"] for result in reply["results"]]


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"text": "a red picture"}, Query(text="a red picture")),
        ({"text": "blue", "negative": "dark"}, Query(text="blue", negative="dark")),
        ({"image": base64.b64encode(picture("green", 77)).decode()}, Query(image=picture("green", 77))),
        (
            {"text": "blue", "image": base64.b64encode(picture("red", 9)).decode(), "image_weight": 0.3},
            Query(text="blue", image=picture("red", 9), image_weight=0.3),
        ),
    ],
)
def test_results_are_those_of_the_index(client: TestClient, shop: Shop, body: dict, query: Query) -> None:
    found = search(client, **body, k=7)
    (hits,) = Index.open(shop.root).find([query], k=7)
    assert ids(found) == [hit.product_id for hit in hits]
    np.testing.assert_allclose(
        [result["similarity"] for result in found["results"]], [hit.similarity for hit in hits], atol=1e-5
    )
    assert (found["model"], found["version"], found["num_matching"], found["offset"]) == ("champion", 1, 40, 0)


def test_requests_at_once_get_their_own_results(client: TestClient, shop: Shop) -> None:
    texts = [f"{colour} {number}" for number in range(8) for colour in ("red", "green", "blue", "yellow")]
    filters = [{}, {"colour": ["red", "blue"]}, {"colour": ["green"]}]
    bodies = [{"text": text, "filters": filters[n % 3], "k": 5 + n % 2} for n, text in enumerate(texts)]
    with ThreadPoolExecutor(len(bodies)) as pool:
        replies = list(pool.map(lambda body: search(client, **body), bodies))
    index = Index.open(shop.root)
    for body, reply in zip(bodies, replies, strict=True):
        (hits,) = index.find([Query(text=body["text"])], filters=body["filters"], k=body["k"])
        assert ids(reply) == [hit.product_id for hit in hits]


def test_pages_continue_each_other_and_end(client: TestClient) -> None:
    everything = ids(search(client, text="green", k=40))
    pages = [ids(search(client, text="green", k=12, offset=offset)) for offset in range(0, 60, 12)]
    assert [each for page in pages for each in page] == everything
    assert pages[-1] == []


def test_filters_facets_and_hybrid(client: TestClient) -> None:
    found = search(client, text="yellow 7", filters={"colour": ["RED", "blue"]}, facets=True, k=40)
    assert {result["attributes"]["colour"] for result in found["results"]} == {"red", "blue"}
    assert found["num_matching"] == 20
    assert found["facets"]["colour"] == {"blue": 10, "green": 10, "red": 10, "yellow": 10}  # without its own filter
    assert found["facets"]["dataset"] == {"shop": 20}
    assert ids(search(client, text="yellow 7", hybrid=True))[0] == "yellow/7"


def test_similar_products_of_ids_with_slashes(client: TestClient, shop: Shop) -> None:
    reply = client.get("/v1/similar/shop/red/3", params={"k": 5})
    assert ids(reply.json()) == [hit.product_id for hit in Index.open(shop.root).find_similar("red/3", k=5)]
    assert "red/3" not in ids(reply.json())
    for path in ("/v1/similar/shop/absent", "/v1/similar/moon/red/3", "/v1/similar/shop/..%2f..%2fetc%2fpasswd"):
        reply = client.get(path)
        assert reply.status_code == 404
        assert "no product" in reply.json()["error"]["message"]


def test_pictures_are_small_and_only_those_of_the_catalog(client: TestClient) -> None:
    (result,) = search(client, text="red", k=1)["results"]
    reply = client.get(result["image"])
    assert reply.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(reply.content)).size == (64, 64)
    for path in ("/pictures/shop/" + "0" * 64, "/pictures/moon/" + "0" * 64, "/pictures/..%2f../x", "/pictures/shop/x"):
        assert client.get(path).status_code == 404


def test_suggestions_complete_the_last_word_from_the_values_of_the_catalog(client: TestClient) -> None:
    def suggested(typed: str) -> list[str]:
        return list(client.get("/v1/suggestions", params={"q": typed}).json())

    assert suggested("gr") == ["green"]
    assert suggested("dark Bl") == ["dark blue"]
    assert suggested("red ") == suggested("zzz") == suggested("green gr") == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "needs a text or an image"),
        ({"text": " "}, "text is empty"),
        ({"text": "red", "k": 1_000_000}, "k: .*200"),
        ({"text": "red", "k": 0}, "k: "),
        ({"text": "red", "k": "5"}, "k: "),
        ({"text": "red", "offset": -1}, "offset"),
        ({"text": "red", "offset": 10**9}, "offset"),
        ({"text": "red", "image_weight": 2}, "image_weight"),
        ({"text": "red", "filters": {"size": "S"}}, "no attribute 'size'"),
        ({"text": "red", "filters": {"colour": "' OR 1=1 --"}}, "no product has colour"),
        ({"text": "red", "filters": {"colour": "../../etc"}}, "no product has colour"),
        ({"text": "red", "filters": {"colour": []}}, "needs one text or several"),
        ({"text": "red", "hybrid": True, "colour": "x"}, "colour: Extra"),
        ({"image": base64.b64encode(picture("red")).decode(), "hybrid": True}, "a hybrid search needs a text"),
        ({"image": "http://example.org/x.png"}, "remote address"),
        ({"text": "red", "negative": ""}, "negative text is empty"),
        ({"text": "\x00\ud800" * 2}, ""),
    ],
)
def test_bad_searches_get_one_sentence(client: TestClient, body: dict, message: str) -> None:
    content = json.dumps(body).encode()
    reply = client.post("/v1/search", content=content, headers={"content-type": "application/json"})
    if not message:
        assert reply.status_code in (200, 400)
        return
    assert reply.status_code == 400, reply.text
    assert re.search(message, reply.json()["error"]["message"]), reply.text


def test_queries_are_logged_without_addresses_and_grades_with_who_and_when(connect: Connect, shop: Shop) -> None:
    grade = {"query": "red", "dataset": "shop", "product_id": "red/1", "grade": 4, "by": "Ada", "model": "champion"}
    with connect() as client:
        found = search(client, text="Red  dress", filters={"colour": "red"})
        grade["index"] = found["index"]
        search(client, image=base64.b64encode(picture("red")).decode())
        assert client.post("/v1/judgements", json={"grades": [grade]}).json() == {"num_stored": 1}
        assert client.post("/v1/judgements", json={"grades": [{**grade, "grade": 5}]}).status_code == 400
    lines = [json.loads(line) for line in (shop.root / ".fclip" / "queries.jsonl").read_text().splitlines()]
    assert [(line["text"], line["image"], line["results"]) for line in lines] == [
        ("Red  dress", False, 10),
        (None, True, 20),
    ]
    assert {"at", "text", "image", "filters", "model", "results"} == set(lines[0])
    (stored,) = [json.loads(line) for line in (shop.root / ".fclip" / "judgements.jsonl").read_text().splitlines()]
    assert (stored["by"], stored["grade"], stored["model"]) == ("Ada", 4, "champion")
    assert stored["index"] == Index.open(shop.root).publication.index
    with connect(log_queries=False) as client:
        search(client, text="blue")
    assert len((shop.root / ".fclip" / "queries.jsonl").read_text().splitlines()) == 2


def test_titles_that_are_scripts_are_text(client: TestClient) -> None:
    page = client.get("/", params={"text": SCRIPT, "filter": "colour=red"})
    assert page.status_code == 200
    assert SCRIPT not in page.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text


def test_openapi_document_names_keys_and_errors_and_has_examples(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    search_route = document["paths"]["/v1/search"]["post"]
    assert search_route["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/healthz"]["get"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path  # wrong requests get 400
    for name in ("SearchRequest", "EmbeddingsRequest", "GradesRequest"):
        assert document["components"]["schemas"][name]["examples"]
