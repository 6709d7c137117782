"""The step `resolve`: pins change with their remote sources, and unchanged sources are not downloaded."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from fclip.base_models.pinning import BaseModelPin
from fclip.base_models.registry import Origin
from fclip.errors import UserError
from fclip.files import read_json
from tasks import resolve as step
from tasks.base_model import read_base_model_pin
from tasks.ingest import ingest
from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY
from tests.fclip.catalog.catalog_shop import jpeg
from tests.fclip.mirror.local_web import Page, Web

NUM_ROWS = 30


@pytest.fixture
def workspace(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace of the preset `table` with a remote table and remote images, and a fixed base model and champion."""
    monkeypatch.setattr(
        step, "pin_base_model", lambda *args, **options: BaseModelPin("local", {"path": "mine"}, Origin({}), "abc")
    )
    monkeypatch.setattr(step, "resolve_champion", lambda workspace: None)
    params: dict[str, Any] = yaml.safe_load((REPOSITORY / "params" / "table.yaml").read_text(encoding="utf-8"))
    params["ingest"]["download"] = {"allow_private": True, "retries": 0}
    source = {"path": web.url("/products.csv"), "image_folder": None}
    params["ingest"]["datasets"]["catalog"]["source"] |= source
    rows = [f"p{i},Coat {i},warm,coat,red,{web.url(f'/{i}.jpg')}" for i in range(NUM_ROWS)]
    serve_table(web, rows)
    web.pages |= {f"/{i}.jpg": Page(jpeg(i), etag=f'"{i}"') for i in range(NUM_ROWS)}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    return Workspace(tmp_path)


def serve_table(web: Web, rows: list[str]) -> None:
    table = "\n".join(["id,title,description,category,colour,image", *rows, ""]).encode()
    web.pages["/products.csv"] = Page(table, content_type="text/csv", etag=f'"{hash(table)}"')


def set_params(workspace: Workspace, **ingest: Any) -> None:
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    params["ingest"] |= ingest
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")


def test_unchanged_sources_are_not_downloaded_again(workspace: Workspace, web: Web) -> None:
    assert "pins/sources/catalog.json" in step.resolve(workspace).changed
    pinned = workspace.source_pin("catalog").read_bytes()
    assert read_json(workspace.source_pin("catalog"))["images"]["num_images"] == NUM_ROWS
    web.forget()
    assert step.resolve(workspace).changed == ()
    assert workspace.source_pin("catalog").read_bytes() == pinned
    assert len(web.asked) == NUM_ROWS + 1
    assert all(asked.conditional and asked.status == 304 for asked in web.asked)
    web.forget()
    assert ingest(workspace, "catalog").num_products == NUM_ROWS
    assert not web.asked


@pytest.mark.parametrize("change", ["table", "image", "gone"])
def test_changed_source_changes_the_pin(workspace: Workspace, web: Web, change: str) -> None:
    step.resolve(workspace)
    match change:
        case "table":
            serve_table(web, [f"p{i},Hat {i},warm,hat,red,{web.url(f'/{i}.jpg')}" for i in range(NUM_ROWS)])
        case "image":
            web.pages["/4.jpg"] = Page(jpeg(400), etag='"another"')
        case "gone":
            del web.pages["/4.jpg"]
    assert step.resolve(workspace).changed == ("pins/sources/catalog.json",)
    summary = ingest(workspace, "catalog")
    assert summary.refused_by_reason == ({"image URL not found": 1} if change == "gone" else {})


def test_another_machine_mirrors_again_or_refuses_a_changed_source(workspace: Workspace, web: Web) -> None:
    step.resolve(workspace)
    shutil.rmtree(workspace.cache)
    web.forget()
    assert ingest(workspace, "catalog").num_products == NUM_ROWS
    assert len(web.asked) == NUM_ROWS + 1
    shutil.rmtree(workspace.cache)
    web.pages["/4.jpg"] = Page(jpeg(400))
    with pytest.raises(UserError, match=r"`catalog` changed since it was pinned .*; run `fclip pin`"):
        ingest(workspace, "catalog")


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "local"}'])
def test_invalid_pin_file_is_refused_and_written_again(workspace: Workspace, content: str) -> None:
    step.resolve(workspace)
    for path in (workspace.source_pin("catalog"), workspace.base_model_pin):
        path.write_text(content)
    with pytest.raises(UserError, match=r"catalog\.json contains no valid pin .*run `fclip pin`"):
        ingest(workspace, "catalog")
    with pytest.raises(UserError, match=r"base_model\.json contains no valid pin .*run `fclip pin`"):
        read_base_model_pin(workspace)
    assert set(step.resolve(workspace).changed) == {"pins/base_model.json", "pins/sources/catalog.json"}
    assert ingest(workspace, "catalog").num_products == NUM_ROWS


def test_limit_applies_to_mirrored_images(workspace: Workspace, web: Web) -> None:
    set_params(workspace, settings={"limit": 12})
    step.resolve(workspace)
    assert len(web.asked) == 12 + 1
    pin = read_json(workspace.source_pin("catalog"))
    assert (pin["num_rows"], pin["images"]["num_images"]) == (NUM_ROWS, 12)


def test_invalid_download_setting_is_reported_by_key(workspace: Workspace) -> None:
    set_params(workspace, download={"per_host": 0})
    with pytest.raises(UserError, match=r"ingest.download: per_host must be at least 1, not 0"):
        step.resolve(workspace)
