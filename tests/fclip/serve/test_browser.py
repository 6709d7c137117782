"""The page in headless Chromium: `make test-browser`. FCLIP_SCREENSHOTS names a folder for screenshots."""

import base64
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from fclip.serve.app import create_app
from fclip.serve.server import protocol
from fclip.serve.settings import Settings
from tests.fclip.serve.conftest import Shop, picture

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium"),
]
Open = Callable[..., "playwright.Page"]


@pytest.fixture
def address(shop: Shop) -> Iterator[str]:
    """The address of a service with a champion and a challenger."""
    shop.publish("challenger", "other")
    settings = Settings(num_threads=1)
    server = uvicorn.Server(uvicorn.Config(create_app(shop.root, settings), port=0, http=protocol(10), log_config=None))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: "playwright.Browser", address: str) -> Iterator[Open]:
    """open_page(path, **options of the context) -> a page. An error, or a request to another host, fails the test."""
    contexts, errors = [], []

    def run(path: str = "/", **options: object) -> "playwright.Page":
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda each: errors.append(each.url) if not own(each.url, address) else None)
        page.goto(address + path)
        return page

    yield run
    for context in contexts:
        context.close()
    assert not errors


def own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


def titles(page: "playwright.Page") -> list[str]:
    return page.locator(".card .title").all_inner_texts()


def screenshot(page: "playwright.Page", name: str) -> None:
    if folder := os.environ.get("FCLIP_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def test_typing_suggests_and_enter_searches(open_page: Open) -> None:
    page = open_page()
    page.keyboard.type("a gr")
    page.wait_for_selector("#suggestions option[value='a green']", state="attached")
    page.keyboard.type("een picture")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?text=a+green+picture")  # no empty values
    assert len(titles(page)) == 24
    page.locator("a[rel=next]").click()
    page.wait_for_url("**page=2**")
    assert len(titles(page)) == 16
    page.go_back()
    assert page.locator("input[name=text]").input_value() == "a green picture"
    screenshot(page, "search")


def test_filters_apply_at_once_and_stay_in_the_address(open_page: Open) -> None:
    page = open_page("/?text=picture")
    page.get_by_label("red", exact=False).first.check()
    page.wait_for_url("**filter=colour%3Dred**")
    assert page.locator(".card").count() == 10
    page.locator(".card a.picture").first.click()
    page.wait_for_url("**similar=shop%2F**")
    assert page.locator(".card").count() > 0


def test_image_by_file_drop_and_paste(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    (tmp_path / "blue.png").write_bytes(picture("blue", 50))
    page.locator("#file").set_input_files(tmp_path / "blue.png")
    page.wait_for_selector(".card")
    assert "blue" in titles(page)[0]
    content = base64.b64encode(picture("red", 60)).decode()
    for event in ("drop", "paste"):
        page.evaluate(
            """([content, event]) => {
                const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
                const transfer = new DataTransfer();
                transfer.items.add(new File([bytes], "<img src=x onerror=alert(1)>.png", { type: "image/png" }));
                const options = { bubbles: true, dataTransfer: transfer, clipboardData: transfer };
                const kind = event === "drop" ? DragEvent : ClipboardEvent;
                document.dispatchEvent(new kind(event, options));
            }""",
            [content, event],
        )
        page.locator(".card:first-child .title", has_text="red").wait_for()
        page.locator("#file").set_input_files(tmp_path / "blue.png")
        page.locator(".card:first-child .title", has_text="blue").wait_for()
    page.locator("input[name=weight]").fill("0.2")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Remove").click()
    page.wait_for_url("**/?*")
    assert page.locator("#image").is_hidden()


def test_file_that_is_no_image_is_explained(open_page: Open, tmp_path: Path) -> None:
    page = open_page()
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.locator("#file").set_input_files(tmp_path / "broken.png")
    page.wait_for_selector("[role=alert]")
    assert "not an image" in page.locator("[role=alert]").inner_text()


def test_two_models_are_graded_side_by_side(open_page: Open, shop: Shop) -> None:
    page = open_page("/?text=a+red+picture&compare=1")
    assert page.locator("section").count() == 2
    assert page.locator("section h2").all_inner_texts() == ["Side A", "Side B"]
    page.locator("section").nth(1).locator("button[data-grade='4']").first.click()
    assert page.evaluate("document.activeElement.id") == "by"  # who grades is asked first
    page.locator("#by").fill("Ada")
    page.locator("section").nth(1).locator("button[data-grade='4']").first.click()
    page.locator("section h2", has_text=":").first.wait_for()
    names = {text.partition(": ")[2] for text in page.locator("section h2").all_inner_texts()}
    assert names == {"champion", "challenger"}
    screenshot(page, "compare")
    (stored,) = [json.loads(line) for line in (shop.root / ".fclip" / "judgements.jsonl").read_text().splitlines()]
    right = page.locator("section h2").nth(1).inner_text().partition(": ")[2]
    assert (stored["by"], stored["grade"], stored["model"]) == ("Ada", 4, right)


def test_keyboard_reaches_everything(open_page: Open) -> None:
    page = open_page("/?text=red")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.name || document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert {"filter", "picture"} <= seen
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/?text=red", "/?text=red&compare=1", "/about", "/login"])
def test_page_fits_390_pixels_and_both_schemes(open_page: Open, scheme: str, path: str) -> None:
    page = open_page(path, viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    screenshot(page, f"narrow-{scheme}{path.replace('/', '-').replace('?', '').replace('&', '-')}")


def test_plain_search_works_without_javascript(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    page.locator("input[name=text]").fill("a red picture")
    page.get_by_role("button", name="Search").click()
    assert len(titles(page)) == 24
    page.locator("input[value='colour=blue']").check()
    page.get_by_role("button", name="Apply").click()
    assert page.locator(".card").count() == 10
