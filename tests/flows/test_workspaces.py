"""`fclip workspace`: a new workspace for a CSV table."""

import csv
import random
from pathlib import Path

from PIL import Image, ImageDraw

from tests.conftest import Space

COLOURS = {"red": (200, 30, 40), "blue": (30, 60, 190), "green": (30, 140, 60), "black": (20, 20, 20)}
SHAPES = ("bag", "shirt", "scarf")


def write_shop(folder: Path, num_rows: int) -> None:
    """Write a CSV table with its own column names, and images."""
    draw = random.Random(0)
    (folder / "images").mkdir(parents=True)
    with (folder / "products.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sku", "name", "type", "colour", "photo"])
        for number in range(num_rows):
            colour, shape = draw.choice(list(COLOURS)), draw.choice(SHAPES)
            image = Image.new("RGB", (96, 96), "white")
            box = (20 + number % 7, 20, 70, 70 + number % 11)
            pen = ImageDraw.Draw(image)
            (pen.ellipse if shape == "bag" else pen.rectangle)(box, fill=COLOURS[colour])
            image.save(folder / "images" / f"{number}.jpg", quality=90)
            writer.writerow([f"SKU{number}", f"{colour.title()} {shape} no. {number}", shape, colour, f"{number}.jpg"])


def test_own_csv_table_runs_in_a_new_workspace(retrained: Space, tmp_path: Path, tiny_base_model: Path) -> None:
    home = retrained.copy(tmp_path / "home")
    path = tmp_path / "mine"
    created = home.call("workspace", "new", str(path), "--params", "params/table.yaml")
    assert created.code == 0, created.output
    mine = home.at(path)
    assert mine.json("pins/champion.json") == {}
    assert mine.params["base"] == {"workspace": "mine", "registered_model": "fclip-mine", "seed": 0}
    write_shop(path / "my-catalog", 120)

    def own_columns(params: dict) -> None:
        source = params["ingest"]["datasets"]["catalog"]["source"]
        source |= {"product_id": "sku", "image": "photo", "texts": {"title": "name"}}
        source["attributes"] = {"category": "type", "colour": "colour"}
        # A tiny model and one candidate; `last` selects it, so that there is a model to register.
        params["finetune"] |= {"base_model": {"kind": "local", "path": str(tiny_base_model)}, "num_candidates": 1}
        params["average"] = {"methods": []}
        params["evaluate"]["settings"]["resamples"] = 100
        params["select"] = {"rule": "last", "in_domain_tolerance": 1.0, "tie_confidence": None}

    mine.set_params(own_columns)
    finished = mine.run("fclip", "retrain", timeout=600)
    assert finished.code == 0, finished.output
    selection = mine.json("reports/selection.json")
    assert "domain" not in (selection["warning"] or ""), "a shop needs no other dataset"
    assert selection["candidates"][0]["out_of_domain"] == {}
    made = {each["dataset"]: each["headline"] for each in mine.json("reports/audits.json")["audits"]}
    assert set(made) == {"catalog"}
    found = mine.call("search", "red bag", "-k", "2")
    assert found.code == 0, found.output
    assert "SKU" in found.output
    assert str(path) in home.call("workspace", "list").output
    # Each workspace shows only its own registered model.
    assert "fclip-mine" not in home.call("models").output
    assert "fclip-mine" in mine.call("models").output


def test_workspace_new_refuses_a_missing_preset_and_an_existing_folder(trained: Space, tmp_path: Path) -> None:
    absent = trained.call("workspace", "new", str(tmp_path / "new"), "--params", "params/none.yaml")
    assert absent.code == 1
    assert "params/kagl.yaml" in absent.output
    taken = trained.call("workspace", "new", str(tmp_path), "--params", "params/table.yaml")
    assert taken.code == 1
    assert "already exists" in taken.output
    assert not (tmp_path / "new").exists()
