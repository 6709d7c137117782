"""`fclip search`, `similar`, `index`, `publish` and `takedown` in a workspace after its first run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Space


def results(space: Space, *arguments: str) -> list[dict]:
    found = space.call(*arguments, "--json")
    assert found.code == 0, found.output
    return list(json.loads(found.output)["results"])


def test_search_needs_no_torch_and_no_library_of_tables(trained: Space) -> None:
    code = (
        "import sys\nfrom flows.cli.__main__ import app\n"
        "try:\n    app(['search', 'red dress', '--filter', 'colour=red', '--hybrid'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'open_clip', 'transformers', 'mlflow', 'prefect', 'pyarrow', 'pandas', 'lancedb', 'scipy'}\n"
        "print(*heavy & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=trained.root, env=dict(trained.environment), capture_output=True, text=True
    )
    *table, imported = done.stdout.splitlines()
    assert len(table) == 11, done.stderr
    assert not imported


def test_search_prints_a_table_or_json(trained: Space) -> None:
    shown = trained.call("search", "red dress", "-k", "3")
    assert len(re.findall(r"studio-\d+ +studio ", shown.output)) == 3
    found = json.loads(trained.call("search", "red dress", "-k", "3", "--json").output)
    assert (found["role"], found["version"], found["query"]) == ("champion", 1, "red dress")
    assert [hit["product_id"] for hit in found["results"]] == re.findall(r"studio-\d+", shown.output)


def test_filters_of_one_name_are_alternatives_and_of_several_are_joined(trained: Space) -> None:
    options = ("--filter", "colour=RED", "--filter", "colour=blue", "--filter", "article_type=dress")
    found = results(trained, "search", "dress", *options, "-k", "100")
    assert {hit["attributes"]["colour"] for hit in found} <= {"red", "blue"}
    assert {hit["attributes"]["article_type"] for hit in found} == {"dress"}


def test_image_query_finds_the_product_of_the_image(trained: Space, tmp_path: Path) -> None:
    from fclip import Index

    row = Index.open(trained.root).search("dress", k=1, images=True).iloc[0]
    best = results(trained, "search", "--image", row["image_path"], "-k", "1")
    assert best[0]["image_sha256"] == row["image_sha256"]
    weighted = results(trained, "search", "shoe", "--image", row["image_path"], "--image-weight", "1", "-k", "1")
    assert weighted[0]["product_id"] == best[0]["product_id"]
    similar = results(trained, "similar", row["product_id"], "-k", "3")
    assert row["product_id"] not in {hit["product_id"] for hit in similar}


def test_hybrid_search_shows_both_scores(trained: Space) -> None:
    shown = trained.call("search", "dress", "--hybrid", "-k", "2").output
    assert re.search(r"product +dataset +fused +similarity +title", shown)


def test_open_writes_a_page_with_the_pictures(trained: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    space = trained.copy(tmp_path / "pages")
    done = space.call("search", "a <b>red</b> dress", "--filter", "colour=red", "-k", "4", "--open")
    assert done.code == 0, done.output
    page = (space.root / "reports" / "search.html").read_text()
    assert opened == [(space.root / "reports" / "search.html").as_uri()]
    assert page.count('src="data:image/') == 4
    assert "a &lt;b&gt;red&lt;/b&gt; dress, colour=red" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search"], "a query needs a text or an image"),
        (["search", " "], "the text of the query is empty"),
        (["search", "dress", "-k", "1000000"], "from 1 to 10,000, not 1,000,000"),
        (["search", "dress", "--filter", "colour"], "has not the form NAME=VALUE"),
        (["search", "dress", "--filter", "fabric=silk"], "no attribute 'fabric' to filter by; the catalog has"),
        (["search", "dress", "--filter", "colour=' OR '1'='1"], "no product has colour"),
        (["search", "dress", "--filter", "colour=../../etc"], "no product has colour"),
        (["search", "--image", "absent.jpg"], "absent.jpg cannot be read"),
        (["search", "--image", "params.yaml"], "not an image of a known format"),
        (["search", "dress", "--challenger"], "no index of the challenger is published"),
        (["similar", "absent"], "no product 'absent' is published"),
        (["takedown", "absent"], "no product 'absent' is published; nothing was changed"),
        (["index", "--rollback"], "there is no earlier index of the champion"),
    ],
)
def test_bad_input_is_one_error(trained: Space, arguments: list[str], message: str) -> None:
    done = trained.call(*arguments)
    assert done.code == 1
    assert message in done.output
    assert done.output.count("error:") == 1


def test_index_is_shown_and_product_taken_down(trained: Space, tmp_path: Path) -> None:
    space = trained.copy(tmp_path / "down")
    shown = space.call("index").output
    for part in (r"model +[0-9a-f]{12} \(version 1\)", r"products +160 with", r"search +exact: ", r"LanceDB +\d+\.\d+"):
        assert re.search(part, shown), shown
    best = results(space, "search", "red dress", "-k", "1")[0]["product_id"]
    assert f"taken down: {best} of studio" in space.call("takedown", best).output
    assert results(space, "search", "red dress", "-k", "1")[0]["product_id"] != best
    published = space.call("publish")
    assert "champion: published the index" in published.output
    assert "of 159 products" in published.output
    described = json.loads(space.call("index", "--json").output)
    assert described["champion"]["num_taken_down"] == 1
    assert [each["product_id"] for each in described["taken_down"]] == [best]
    assert len(described["champion"]["previous"]) == 1
    assert "160 with" in space.call("index", "--rollback").output
    assert "no longer taken down" in space.call("takedown", best, "--undo").output
    assert results(space, "search", "red dress", "-k", "1")[0]["product_id"] == best


def test_workspace_without_an_index_says_what_to_run(trained: Space, tmp_path: Path) -> None:
    space = trained.at(tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(trained.root / name, tmp_path / name)
    for command in (["search", "dress"], ["index"], ["similar", "studio-000001"]):
        done = space.call(*command)
        assert done.code == 1
        assert "nothing is published in" in done.output
        assert "`fclip retrain`" in done.output
