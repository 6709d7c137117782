"""`fclip init`: from a table to a workspace."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.mapping.find_images import ImageLookup
from fclip.catalog.mapping.propose import ProposedMapping
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import describe
from fclip.catalog.summary import IngestSummary
from fclip.config import parse_config
from fclip.mirror.source_access import SourceAccess
from flows.cli import init as command
from flows.new_params import EXAMPLE, render_params
from tests.conftest import REPOSITORY, Space, make_space, tiny_params
from tests.fclip.catalog.catalog_shop import LOCAL, ingest_config
from tests.fclip.catalog.mapping.tables import (
    URL,
    kaggle_styles,
    merchant_feed,
    own_table,
    shopify_export,
    write_images,
    write_table,
)


def rendered(table: Path, *options: str, images: Path | None = None) -> dict[str, Any]:
    """The params that `fclip init` writes for a table."""
    _, mapping = command.read_mapping(str(table), str(images) if images else None, list(options))
    text = render_params(mapping, workspace="mine", registered_model="fclip-mine")
    assert len(text.splitlines()) <= 50
    return dict(yaml.safe_load(text))


def ingested(values: dict[str, Any], folder: Path) -> IngestSummary:
    """The catalog that the params' source gives."""
    dataset = parse_config(values["ingest"]["datasets"]["catalog"], DatasetConfig, where="params.yaml")
    access = SourceAccess(folder, folder / "mirror", LOCAL, refresh=False)
    return build_catalog(
        ingest_config(dataset),
        dataset="shop",
        access=access,
        pin=SourcePin("shop", describe(dataset.source, access)),
        catalog_dir=folder / "out" / "catalog",
        images_dir=folder / "out" / "images",
    )


@pytest.mark.parametrize("make", [kaggle_styles, own_table])
def test_the_source_ingests_every_product(tmp_path: Path, make: Any) -> None:
    table = make(tmp_path / "shop", num_products=60)
    summary = ingested(rendered(table), tmp_path)
    assert (summary.num_rows, summary.refused_by_reason) == (60, {})


def test_shopifys_export_ingests_every_product_with_all_images(tmp_path: Path) -> None:
    table = shopify_export(tmp_path / "shop", num_products=60)
    table.write_text(table.read_text().replace(f"{URL}/", "").replace("?v=1", ""))
    names = [line for cell in table.read_text().split(",") if (line := cell.strip()).endswith(".jpg")]
    write_images(tmp_path / "shop" / "images", names)
    values = rendered(table, images=tmp_path / "shop" / "images")
    assert values["ingest"]["datasets"]["catalog"]["source"]["merge_rows"] is True
    summary = ingested(values, tmp_path)
    assert (summary.num_rows, summary.refused_by_reason) == (60, {})
    assert summary.num_images == 180


def test_params_of_urls(tmp_path: Path) -> None:
    values = rendered(merchant_feed(tmp_path))
    source = values["ingest"]["datasets"]["catalog"]["source"]
    assert source["image_folder"] is None
    assert source["image"] == ["image_link", "additional_image_link"]
    assert source["path"] == str(tmp_path / "feed.tsv")
    assert values["evaluate"]["datasets"]["catalog"]["slices"] == ["category", "colour", "gender", "brand"]


def test_without_classes_retrieval_selects(tmp_path: Path) -> None:
    rows = [[n, f"Coat {n}", f"{URL}/{n}.jpg"] for n in range(5000)]
    values = rendered(write_table(tmp_path / "t.csv", ["id", "title", "image link"], rows))
    evaluation = values["evaluate"]["datasets"]["catalog"]
    assert evaluation["primary"] == "retrieval.text_to_image.recall_at_10"
    assert list(evaluation["protocols"]) == ["retrieval"]
    assert values["caption"]["datasets"]["catalog"] == {"title": "{title}"}
    assert values["finetune"]["captions"] == {"title": 0.4}
    assert (values["finetune"]["trainable"], values["finetune"]["batch_size"]) == ("image_tower", 128)


def test_a_table_without_titles(tmp_path: Path) -> None:
    rows = [[n, f"{URL}/{n}.jpg", ["Coat", "Hat"][n % 2], "red"] for n in range(40)]
    values = rendered(write_table(tmp_path / "t.csv", ["id", "image link", "category", "colour"], rows))
    assert values["embed"]["text"] == "attributes"
    assert values["evaluate"]["datasets"]["catalog"]["protocols"]["retrieval"]["caption"] == "attributes"


@given(st.text(min_size=1), st.text(min_size=1), st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_any_name_of_a_column_survives_yaml(title: str, folder: str, images: list[str]) -> None:
    mapping = ProposedMapping(
        table=folder,
        product_id=title,
        images=ImageLookup(tuple(images), folder, separator=title),
        texts={"title": title},
        attributes={"colour": title},
        num_products=1,
    )
    source = yaml.safe_load(render_params(mapping, workspace="a", registered_model="b"))["ingest"]["datasets"][
        "catalog"
    ]
    assert source["source"]["texts"] == {"title": title}
    assert source["source"]["image"] in (images, images[0])
    assert source["source"]["image_folder"] == folder
    assert source["source"]["image_separator"] == title


def test_the_preset_is_the_same_template() -> None:
    text = (REPOSITORY / "params" / "table.yaml").read_text()
    assert text == render_params(EXAMPLE, workspace="catalog", registered_model="fclip-catalog")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """A workspace beside which others are made."""
    folder = tmp_path_factory.mktemp("init")
    return make_space(folder / "home", tiny_params(folder / "no-model"), folder / "user")


def test_init_makes_a_workspace(home: Space, tmp_path: Path) -> None:
    """The new workspace has the rendered params on a branch of its own, and the output says what is next."""
    table = own_table(tmp_path / "shop")
    path = home.root.parent / "mine"
    result = home.call("init", str(path), "--table", str(table), "--map", "brand=category")
    assert result.code == 0, result.output
    values = yaml.safe_load((path / "params.yaml").read_text())
    assert values["base"] == {"workspace": "mine", "registered_model": "fclip-mine", "seed": 0}
    assert values["ingest"]["datasets"]["catalog"]["source"]["path"] == str(table)
    assert values["ingest"]["datasets"]["catalog"]["source"]["attributes"]["brand"] == "Category"
    assert home.at(path).run("git", "status", "--porcelain").output == ""
    assert (path / "pins" / "sources" / "catalog.json").is_file()
    for line in (
        "40 of 40 sampled rows have their images",
        "fclip retrain --dry-run",
        'fclip search "red summer dress"',
    ):
        assert line in " ".join(result.output.split())


def test_a_new_workspace_can_be_pinned(home: Space, tmp_path: Path, tiny_base_model: Path) -> None:
    path = home.root.parent / "pinned"
    created = home.run("fclip", "init", str(path), "--table", str(kaggle_styles(tmp_path / "shop")))
    assert created.code == 0, created.output
    space = home.at(path)
    space.set_params(lambda p: p["finetune"].update(base_model={"kind": "local", "path": str(tiny_base_model)}))
    pinned = space.call("pin")
    assert pinned.code == 0, pinned.output
    assert space.json("pins/sources/catalog.json")["num_rows"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "absent.csv"], "does not exist"),
        (["--table", "{table}", "--images", "absent"], "is not a folder"),
        (["--table", "{table}", "--map", "title=Absent"], "no column `Absent`"),
        (["--table", "{table}", "--map", "image=Price"], "no sampled image of `Price`"),
        (["--table", "ftp://example.com/a.csv"], "scheme"),
    ],
)
def test_nothing_is_created_after_an_error(home: Space, tmp_path: Path, arguments: list[str], message: str) -> None:
    table = str(own_table(tmp_path / "shop"))
    path = home.root.parent / "never"
    result = home.call("init", str(path), *(each.format(table=table) for each in arguments))
    assert result.code == 1
    assert message in result.output
    assert not path.exists()
    assert "never" not in home.run("git", "branch").output


def test_a_folder_that_is_taken(home: Space, tmp_path: Path) -> None:
    assert "already exists" in home.call("init", str(tmp_path), "--table", "absent.csv").output


def test_markup_and_control_characters_are_shown_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = ["id", "title", "image link", "[bold]x[/bold]", "a\x1b[31mb", *(f"column {n}" for n in range(500))]
    rows = [[n, f"[red]Coat {n}[/red]", f"{URL}/{n}.jpg", *("" for _ in header[3:])] for n in range(20)]
    sample, mapping = command.read_mapping(str(write_table(tmp_path / "t.csv", header, rows)), None, [])
    command._print_mapping(sample, mapping)
    output = capsys.readouterr().out
    assert "[bold]x[/bold]" in output
    assert "[red]Coat 0[/red]" in output
    assert "\\x1b[31m" in output
    assert "more" in output
    assert len(output.splitlines()) < 30


def test_another_language_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[n, f"Kleid aus Baumwolle für Damen, dunkelblau {n}", f"{URL}/{n}.jpg"] for n in range(20)]
    sample, mapping = command.read_mapping(
        str(write_table(tmp_path / "t.csv", ["id", "titel", "bild"], rows)), None, []
    )
    command._print_mapping(sample, mapping)
    output = " ".join(capsys.readouterr().out.split())
    assert "the texts look German" in output
    assert "xlm-roberta-base-ViT-B-32" in output
