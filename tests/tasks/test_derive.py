"""The stages `derive` and `evaluate-derived`: copies of held-out products, and what reads them."""

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError
from fclip.evaluation.table import read_score_rows
from fclip.files import read_json, sha256_bytes, sha256_tree
from fclip.images.packs import ImagePacks, StoredImage
from fclip.shifts.counts import read_counts
from tasks.derive import derive
from tasks.evaluate import evaluate
from tasks.evaluate_derived import evaluate_derived
from tasks.profile import measure_catalogs, write_pages
from tasks.promote import compare_models
from tasks.register import NotRegistered
from tasks.report import gather_inputs
from tasks.select import main as select
from tasks.selection_result import derived_data
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import made_of, read_derived_roles, read_evaluated_roles
from tests.fclip.shifts.pictures import product_on
from tests.packs import write_packs
from tests.tiny_shop import COLOURS, make_shop


def set_derived(workspace: Workspace, datasets: dict[str, Any]) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["derive"] = {"datasets": datasets}
    params["ingest"]["settings"] = {}
    workspace.params.write_text(yaml.safe_dump(params))


def shirts_on_white(workspace: Workspace, dataset: str, *, every: int = 1) -> None:
    """Replace the first picture of every so many products by a shirt of its colour on white."""
    path = workspace.catalog(dataset) / "products.parquet"
    rows, images = pq.read_table(path).to_pylist(), []
    packs = ImagePacks([workspace.images(dataset)])
    for number, row in enumerate(rows):
        if number % every == 0:
            red, green, blue = list(COLOURS.values())[number % len(COLOURS)]
            buffer = io.BytesIO()
            product_on(product=(red, green, (blue + number) % 200), side=48).save(buffer, "PNG")
            shirt = StoredImage(sha256_bytes(buffer.getvalue()), buffer.getvalue(), 48, 48)
            images.append(shirt)
            row["images"] = [shirt.sha256]
        images += [StoredImage(each, packs.read(each), 40, 44) for each in row["images"] if each in packs]
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), path)
    write_packs(workspace.images(dataset), images)


def products_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "products.parquet", schema=PRODUCTS).to_pylist()
    return rows


CAMERA = {"of": "studio", "shift": {"kind": "camera"}}
SCENE = {"of": "studio", "shift": {"kind": "scene"}}


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    return make_shop(tmp_path / "shop")


def test_the_copies_are_those_of_the_products_that_evaluation_takes(shop: Workspace) -> None:
    set_derived(shop, {"all": {**CAMERA, "selects": True}, "reported": CAMERA})
    assert read_derived_roles(shop)["reported"].by_split == {"test": "report"}
    counts = derive(shop, "all")
    assert (counts.of, counts.shift, counts.made, counts.total) == ("studio", "camera", 32, 32)
    originals = {row["product_id"]: row for row in products_of(shop.catalog("studio"))}
    copies = products_of(shop.derived("all"))
    assert Counter(row["split"] for row in copies) == {"val": 20, "test": 12}  # evaluation takes at most 20
    packs = ImagePacks([shop.derived("all") / "images"])
    for row in copies:
        (image,) = row["images"]
        assert {**row, "images": None} == {**originals[row["product_id"]], "images": None}
        assert image not in originals[row["product_id"]]["images"]
        assert Image.open(io.BytesIO(packs.read(image))).format == "JPEG"
    assert {row["split"] for row in products_of(shop.derived("all"))} == {"val", "test"}
    derive(shop, "reported")
    assert {row["split"] for row in products_of(shop.derived("reported"))} == {"test"}


def test_the_same_bytes_whatever_else_is_in_the_catalog(shop: Workspace) -> None:
    set_derived(shop, {"copies": CAMERA})
    derive(shop, "copies")
    first, before = sha256_tree(shop.derived("copies")), products_of(shop.derived("copies"))
    derive(shop, "copies")
    assert sha256_tree(shop.derived("copies")) == first
    path = shop.catalog("studio") / "products.parquet"
    rows = [row for row in products_of(shop.catalog("studio")) if row["product_id"] != before[0]["product_id"]]
    pq.write_table(pa.Table.from_pylist(rows[::-1], schema=PRODUCTS), path)
    derive(shop, "copies")
    after = {row["product_id"]: row["images"] for row in products_of(shop.derived("copies"))}
    assert after == {row["product_id"]: row["images"] for row in before[1:]}


def test_evaluation_by_the_primary_protocol_with_the_classes_of_the_original(shop: Workspace) -> None:
    set_derived(shop, {"copies": CAMERA})
    derive(shop, "copies")
    evaluate_derived(shop, "copies")
    evaluate(shop, "studio")
    rows, originals = read_score_rows(shop.evaluation("copies")), read_score_rows(shop.evaluation("studio"))
    assert {(row.dataset, row.split, row.role, row.protocol) for row in rows} == {
        ("copies", "test", "report", "classification")
    }
    assert {(row.candidate, row.model_sha256) for row in rows} == {
        (row.candidate, row.model_sha256) for row in originals
    }
    of_test = [row.num_items for row in originals if row.primary and row.split == "test"]
    assert {row.num_items for row in rows} == set(of_test)


def test_what_cannot_be_cut_out_is_counted(shop: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    set_derived(shop, {"scenes": SCENE, "white": {"of": "studio", "shift": {"kind": "scene", "ground": "white"}}})
    shirts_on_white(shop, "studio", every=2)
    counts = derive(shop, "scenes")
    assert counts == read_counts(shop.derived("scenes"))
    assert (counts.splits["test"].made, counts.splits["test"].not_made) == (6, 6)
    assert counts.problem is None
    assert "6 of 12 products could be made; each of the others cannot be cut out" in counts.summary
    white = derive(shop, "white")
    assert white.splits == counts.splits
    evaluate_derived(shop, "scenes")
    assert {row.split for row in read_score_rows(shop.evaluation("scenes"))} == {"test"}
    evaluate_derived(shop, "white")
    assert read_score_rows(shop.evaluation("white")) == [], "a control is for audits alone"
    tables = shop.evaluation("white"), shop.evaluation_draws("white")
    before = [path.read_bytes() for path in tables]
    evaluate_derived(shop, "white")
    assert [path.read_bytes() for path in tables] == before
    products = shop.derived("white") / "products.parquet"
    pq.write_table(pq.read_table(products).slice(1), products)
    evaluate_derived(shop, "white")
    assert all(path.read_bytes() != bytes_ for path, bytes_ in zip(tables, before, strict=True)), "audits must rerun"
    assert list(read_evaluated_roles(shop)) == ["street", "studio", "scenes"]
    set_derived(shop, {"white": {"of": "studio", "shift": {"kind": "scene", "ground": "white"}, "selects": True}})
    with pytest.raises(UserError, match="selects must be false for a scene on white ground: it is a control"):
        derive(shop, "white")


def test_a_catalog_without_plain_grounds_gives_an_empty_dataset_and_says_why(
    shop: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    set_derived(shop, {"scenes": {**SCENE, "selects": True}})
    counts = derive(shop, "scenes")
    assert counts.made == 0
    assert counts.evaluated_roles == {}
    assert "it cannot be evaluated, since a split needs 5 products: 0 of 32 products could be made" in caplog.text
    assert "no plain ground" in caplog.text
    caplog.clear()
    evaluate_derived(shop, "scenes")
    assert read_score_rows(shop.evaluation("scenes")) == []
    assert "cannot be evaluated" in caplog.text
    for dataset in ("studio", "street"):
        evaluate(shop, dataset)
    caplog.clear()
    select(shop)
    assert "scenes selects nothing" in caplog.text
    assert "scenes" not in read_json(shop.selection)["candidates"][0]["out_of_domain"]
    folder = shop.candidate("step-000010")
    assert {each.dataset for each in compare_models(shop, folder, folder)} == {"studio", "street"}
    (data,) = derived_data(shop)
    assert data.counts == counts
    shop.evaluation("scenes").unlink()
    with pytest.raises(UserError, match="dvc repro evaluate-derived@scenes"):
        select(shop)


def test_a_dataset_that_selects_is_out_of_domain(shop: Workspace) -> None:
    set_derived(shop, {"copies": {**CAMERA, "selects": True}, "reported": CAMERA})
    for name in made_of(shop):
        derive(shop, name)
        evaluate_derived(shop, name)
    for name in ("studio", "street"):
        evaluate(shop, name)
    select(shop)
    selection = read_json(shop.selection)
    assert set(selection["candidates"][0]["out_of_domain"]) == {"copies", "street"}
    assert selection["in_domain_datasets"] == ["studio"]
    folder = shop.candidate("step-000010")
    compared = compare_models(shop, folder, folder)
    assert {(each.dataset, each.split, each.in_domain) for each in compared} == {
        ("studio", "val", True), ("street", "val", False), ("copies", "val", False)
    }  # fmt: skip
    assert set(read_evaluated_roles(shop)) == {"studio", "street", "copies", "reported"}
    for name, stage in (("copies", "evaluate-derived"), ("street", "evaluate")):
        path = shop.evaluation(name)
        table = pq.read_table(path)
        column = table.schema.get_field_index("model_sha256")
        pq.write_table(table.set_column(column, "model_sha256", pa.array(["0" * 64] * table.num_rows)), path)
        with pytest.raises(UserError, match=f"run `dvc repro {stage}@{name}`"):
            select(shop)
        pq.write_table(table, path)


def test_the_catalog_page_shows_pairs(shop: Workspace) -> None:
    set_derived(shop, {"copies": CAMERA, "scenes": SCENE, "others": {**CAMERA, "of": "street"}})
    for name in made_of(shop):
        derive(shop, name)
    write_pages(shop, measure_catalogs(shop, "studio"))
    page = shop.catalog_page("studio").read_text()
    assert "12 of 12 products could be made." in page
    assert "scenes: it cannot be evaluated" in page
    assert page.count('<div class="two">') == 12
    assert ">others<" not in page


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"copies": {**CAMERA, "of": "moon"}}, r"derive.datasets.copies.of: ingest.datasets has no dataset `moon`"),
        ({"copies": {"shift": {"kind": "camera"}}}, r"derive.datasets.copies.of"),
        ({"copies": {**CAMERA, "shift": {"kind": "rain"}}}, "`kind` must be one of camera, scene, thumbnail"),
        ({"others": CAMERA}, r"no dataset `copies`; it has others"),
    ],
)
def test_faults_are_named_by_key(shop: Workspace, datasets: dict[str, Any], message: str) -> None:
    set_derived(shop, datasets)
    with pytest.raises(UserError, match=message):
        derive(shop, "copies")


def test_an_original_without_held_out_splits_is_an_error(shop: Workspace) -> None:
    params = yaml.safe_load(shop.params.read_text())
    params["ingest"]["datasets"]["studio"]["roles"] = {"train": "train", "val": "select"}
    shop.params.write_text(yaml.safe_dump(params))
    set_derived(shop, {"copies": CAMERA})
    with pytest.raises(UserError, match="no split of `studio` has the role report"):
        derive(shop, "copies")


def test_a_workspace_without_the_section_has_no_derived_datasets(shop: Workspace) -> None:
    assert made_of(shop) == read_derived_roles(shop) == {}
    assert set(read_evaluated_roles(shop)) == {"studio", "street"}
    assert derived_data(shop) == ()


def test_the_report_names_what_could_not_be_made(shop: Workspace, own_registry: Path) -> None:
    from fclip.report.build import render_report

    set_derived(shop, {"copies": CAMERA, "scenes": SCENE})
    for name in made_of(shop):
        derive(shop, name)
        evaluate_derived(shop, name)
    for dataset in ("studio", "street"):
        evaluate(shop, dataset)
    select(shop)
    page = render_report(gather_inputs(shop, NotRegistered("a test"), None))
    assert "made of studio, poor photograph" in page
    assert "scenes: it cannot be evaluated, since a split needs 5 products: 0 of 12 products could be made" in page
