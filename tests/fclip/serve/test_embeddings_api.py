"""`/v1/embeddings` and `/v1/models`, in the shapes of OpenAI, Jina and Infinity."""

import base64
import re

import numpy as np
import pytest
from starlette.testclient import TestClient

from fclip.runtime.loading import load
from tests.fclip.serve.conftest import Connect, Shop, picture

TEXTS = ["a red picture", "blue", "ümlaut 👗"]


def vectors(reply: dict) -> np.ndarray:
    return np.array([each["embedding"] for each in reply["data"]], np.float32)


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_texts_and_images_have_the_embeddings_of_the_model(client: TestClient, shop: Shop) -> None:
    model = load(shop.models["tiny"])
    images = [picture("red"), picture("blue", 3)]
    expected = np.concatenate([model.embed_texts(TEXTS), model.embed_images(images)])
    address = f"data:image/png;base64,{encoded(images[1])}"
    inputs = [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2], {"image": encoded(images[0])}, {"image": address}]
    reply = client.post("/v1/embeddings", json={"input": inputs})
    assert reply.status_code == 200, reply.text
    np.testing.assert_allclose(vectors(reply.json()), expected, atol=1e-5)
    assert [each["index"] for each in reply.json()["data"]] == [0, 1, 2, 3, 4]
    assert reply.json()["model"] == "champion"
    assert reply.headers["fclip-model-sha256"] == model.manifest.model_sha256
    one = client.post("/v1/embeddings", json={"input": TEXTS[0], "model": model.manifest.model_sha256[:12]})
    np.testing.assert_allclose(vectors(one.json())[0], expected[0], atol=1e-5)
    by_modality = client.post("/v1/embeddings", json={"input": [encoded(images[0])], "modality": "image"})
    np.testing.assert_allclose(vectors(by_modality.json())[0], expected[3], atol=1e-5)


def test_client_of_openai_reads_the_reply(client: TestClient) -> None:
    openai = pytest.importorskip("openai")
    api = openai.OpenAI(base_url="http://testserver/v1", api_key="none", http_client=client)
    found = api.embeddings.create(model="champion", input=TEXTS)  # asks for base64
    plain = api.embeddings.create(model="champion", input=TEXTS, encoding_format="float")
    np.testing.assert_allclose(
        [each.embedding for each in found.data], [each.embedding for each in plain.data], atol=1e-7
    )
    assert [model.id for model in api.models.list()] == ["champion"]
    with pytest.raises(openai.BadRequestError, match="token ids"):
        api.embeddings.create(model="champion", input=[[1, 2, 3]])


def test_models_name_what_is_published(client: TestClient, shop: Shop) -> None:
    shop.publish("challenger", "other")
    cards = {card["id"]: card for card in client.get("/v1/models").json()["data"]}
    assert set(cards) == {"champion", "challenger"}
    assert cards["champion"]["num_products"] == 40
    assert cards["champion"]["model_sha256"] != cards["challenger"]["model_sha256"]
    one, other = (vectors(client.post("/v1/embeddings", json={"input": "red", "model": name}).json()) for name in cards)
    assert abs(one - other).max() > 0.01


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"input": [1, 2]}, 400, "token ids"),
        ({"input": [[1, 2], [3]]}, 400, "token ids"),
        ({"input": []}, 400, "at least 1 item"),
        ({"input": ""}, 400, "input 0 is empty"),
        ({"input": "red", "dimensions": 8}, 400, "have 384 dimensions"),
        ({"input": "red", "model": "gpt"}, 404, "models are champion and challenger"),
        ({"input": "red", "model": "challenger"}, 404, "no index of the challenger"),
        ({"input": "red", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": [{"image": "https://example.org/a.jpg"}]}, 400, "remote address"),
        ({"input": [{"image": "file:///etc/passwd"}]}, 400, "remote address"),
        ({"input": [{"image": "/etc/passwd"}]}, 400, "not an image|neither base64"),
        ({"input": [{"image": "!!"}]}, 400, "input 0 is neither base64"),
        ({"input": [{"image": encoded(b"no image")}]}, 400, "input 0 .*known format"),
        ({"input": [{"audio": "x"}]}, 400, "input"),
        ({"input": ["x"] * 300}, 400, "300 inputs; at most 256"),
        ({"input": "x" * 30_000}, 400, "30,000 characters"),
        ({}, 400, "input: Field required"),
        ([], 400, "dictionary|object"),
    ],
)
def test_bad_requests_get_one_sentence(client: TestClient, body: object, status: int, message: str) -> None:
    reply = client.post("/v1/embeddings", json=body)
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert re.search(message, error["message"]), error
    assert "\n" not in error["message"]


def test_one_bad_image_does_not_disturb_other_requests(connect: Connect) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with connect(batch_wait_ms=50) as client, ThreadPoolExecutor(6) as pool:
        bad = {"input": [{"image": encoded(b"damaged")}]}
        good = {"input": [{"image": encoded(picture("red"))}]}
        replies = list(pool.map(lambda body: client.post("/v1/embeddings", json=body), [bad, good] * 3))
    assert [reply.status_code for reply in replies] == [400, 200] * 3
