"""The params of the dry run: they name the same sources from another folder."""

from pathlib import Path
from typing import Any

import yaml

from flows.cli.dry_run import ROWS, dry_run_params
from tests.conftest import REPOSITORY


def test_dry_run_makes_source_paths_absolute(tmp_path: Path) -> None:
    """Column names stay unchanged even if a folder has the same name, and so does an empty suffix."""
    params: dict[str, Any] = yaml.safe_load((REPOSITORY / "params" / "table.yaml").read_text())
    source = params["ingest"]["datasets"]["catalog"]["source"]
    (tmp_path / source["image"]).mkdir()
    copied = dry_run_params(params, tmp_path)["ingest"]
    assert copied["settings"]["limit"] == ROWS
    changed = {key: value for key, value in copied["datasets"]["catalog"]["source"].items() if value != source[key]}
    assert changed == {key: str(tmp_path / source[key]) for key in ("path", "image_folder")}

    source |= {"path": "https://shop.example/products.csv", "image_folder": None}
    assert dry_run_params(params, tmp_path)["ingest"]["datasets"]["catalog"]["source"] == source


def test_dry_run_makes_the_path_of_the_teacher_absolute(tmp_path: Path) -> None:
    params: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for path in ("teacher.parquet", str(tmp_path / "teacher.parquet")):
        params["finetune"]["distillation"] = {"teacher": path, "sha256": "00"}
        copied = dry_run_params(params, tmp_path)["finetune"]["distillation"]
        assert copied == {"teacher": str(tmp_path / "teacher.parquet"), "sha256": "00"}
        assert params["finetune"]["distillation"]["teacher"] == path


def test_dry_run_makes_the_base_model_path_absolute(tmp_path: Path) -> None:
    params: dict[str, Any] = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    (tmp_path / "mine").mkdir()
    there, hub = str(tmp_path / "mine"), {"kind": "transformers", "model": "organisation/name"}
    for base_model, expected in (
        ({"kind": "local", "path": "mine"}, {"kind": "local", "path": there}),
        ({"kind": "transformers", "model": "mine"}, {"kind": "transformers", "model": there}),
        (hub, hub),
    ):
        params["finetune"]["base_model"] = base_model
        assert dry_run_params(params, tmp_path)["finetune"]["base_model"] == expected
        params["finetune"]["base_model"] = {"kind": "champion", "otherwise": base_model}
        assert dry_run_params(params, tmp_path)["finetune"]["base_model"] == {"kind": "champion", "otherwise": expected}
