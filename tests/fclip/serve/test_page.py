"""The page without JavaScript: plain forms and links."""

import json
import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from tests.fclip.serve.conftest import Connect, Shop


class Links(HTMLParser):
    """The addresses of a page: of links by relation, of images, and of everything that it loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.images: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and "rel" in values:
            self.links[values["rel"]] = values["href"]
        if tag == "img" and "src" in values:
            self.images.append(values["src"])
        if tag in ("img", "script", "link"):
            self.loaded += [values[name] for name in ("src", "href") if name in values]
        assert not {name for name in values if name.startswith("on")}, "no script in an attribute"


def products(html: str) -> list[str]:
    return re.findall(r'data-product="([^"]+)"', html)


def test_plain_search_shows_pictures_and_pages(client: TestClient) -> None:
    page = client.get("/", params={"text": "a red picture"})
    assert page.status_code == 200
    links = Links(page.text)
    assert len(products(page.text)) == len(links.images) == 24
    assert all(address.startswith(("/", "data:")) and not address.startswith("//") for address in links.loaded)
    assert client.get(links.images[-1]).headers["content-type"] == "image/webp"
    second = client.get(links.links["next"])
    assert len(products(second.text)) == 16
    assert not set(products(page.text)) & set(products(second.text))
    assert "next" not in Links(second.text).links
    assert products(client.get(Links(second.text).links["prev"]).text) == products(page.text)


def test_results_are_those_of_the_search_api(client: TestClient) -> None:
    body = {"text": "blue", "negative": "red", "filters": {"colour": ["blue", "green"]}, "k": 24, "hybrid": True}
    expected = [result["product_id"] for result in client.post("/v1/search", json=body).json()["results"]]
    params = {"text": "blue", "negative": "red", "filter": ["colour=blue", "colour=green"], "hybrid": "1"}
    page = client.get("/", params=params)
    assert products(page.text) == expected
    assert 'value="colour=blue" checked' in page.text
    fragment = client.post(
        "/results", json={"text": "blue", "negative": "red", "filter": ["colour=blue"], "hybrid": True}
    )
    assert fragment.status_code == 200
    assert "<html" not in fragment.text
    assert products(fragment.text)


def test_similar_products_have_an_address(client: TestClient) -> None:
    page = client.get("/", params={"similar": "shop/red/3"})
    expected = client.get("/v1/similar/shop/red/3", params={"k": 24}).json()["results"]
    assert products(page.text) == [result["product_id"] for result in expected]
    (similar,) = re.findall(r'href="(/\?similar=shop%2Fred%2F1)"', client.get("/?text=red").text)
    assert client.get(similar).status_code == 200


def test_empty_page_shows_filters_with_counts(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "Enter what you look for" in page.text
    assert re.search(r'value="colour=red"> <span>red</span> <span class="count">10</span>', page.text)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"text": "red", "filter": "colour=mauve"}, "no product has colour = &#39;mauve&#39;"),
        ({"text": "red", "filter": "<b>=1"}, "no attribute &#39;&lt;b&gt;&#39;"),
        ({"similar": "shop/absent"}, "no product &#39;absent&#39;"),
        ({"text": "red", "model": "challenger"}, "no index of the challenger"),
        ({"text": "red", "compare": "1"}, "no index of the challenger"),
    ],
)
def test_bad_queries_are_explained_on_the_page(client: TestClient, params: dict, message: str) -> None:
    page = client.get("/", params=params)
    assert page.status_code == 400
    assert message in page.text
    assert 'role="alert"' in page.text


@pytest.mark.parametrize("params", [{"page": "0"}, {"page": "x"}, {"weight": "nan"}, {"text": "x" * 3000}])
def test_impossible_addresses_are_refused(client: TestClient, params: dict) -> None:
    reply = client.get("/", params=params)
    assert reply.status_code == 400
    assert next(iter(params)) in reply.json()["error"]["message"]


def test_sides_are_shuffled_and_named_only_after_a_grade(connect: Connect, shop: Shop) -> None:
    shop.publish("challenger", "other")
    with connect() as client:
        orders = set()
        for _ in range(40):
            page = client.get("/", params={"text": "a red picture", "compare": "1"}).text
            results = page.partition("<main")[2].partition("</main>")[0]
            assert "champion" not in results
            assert "challenger" not in results
            orders.add(tuple(products(results)))
        assert len(orders) == 2
        (pair,) = re.findall(r'data-pair="([^"]+)"', results)
        grade = {"pair": pair, "side": 1, "query": "a red picture", "dataset": "shop", "product_id": "red/1"}
        reply = client.post("/grades", json={**grade, "grade": 3, "by": "Grace"})
        roles = reply.json()["roles"]
        assert set(roles) == {"champion", "challenger"}
        assert client.post("/grades", json={**grade, "pair": "unknown", "grade": 3, "by": "x"}).status_code == 404
        assert client.post("/grades", json={**grade, "grade": 7, "by": "x"}).status_code == 400
    (stored,) = [json.loads(line) for line in (shop.root / ".fclip" / "judgements.jsonl").read_text().splitlines()]
    assert (stored["model"], stored["grade"], stored["by"]) == (roles[1], 3, "Grace")
    assert stored["index"] == shop.published.pointer(roles[1]).current.index


def test_about_names_what_is_published_and_links_to_the_report(client: TestClient, shop: Shop) -> None:
    page = client.get("/about")
    assert shop.published.pointer("champion").current.index in page.text
    assert "/report" not in page.text
    assert "Decision" not in page.text
    pointer = shop.published.pointer_file("champion")
    content = json.loads(pointer.read_text())
    content["current"]["decision"] = "promoted against the gate by Ada (2026-01-01): <b>better</b>"
    pointer.write_text(json.dumps(content))
    client.get("/readyz")
    assert "by Ada (2026-01-01): &lt;b&gt;better&lt;/b&gt;" in client.get("/about").text
    assert client.get("/report").status_code == 404
    assert client.get("/card/champion").status_code == 404
    shop.published.card_file("champion").write_text("# A card")
    assert 'href="/card/champion"' in client.get("/about").text
    assert client.get("/card/champion").text == "# A card"
    (shop.root / "reports").mkdir()
    (shop.root / "reports" / "report.html").write_text("<h1>Report</h1>")
    assert 'href="/report"' in client.get("/about").text
    report = client.get("/report")
    assert "<h1>Report</h1>" in report.text
    assert "connect-src" not in report.headers["content-security-policy"]
