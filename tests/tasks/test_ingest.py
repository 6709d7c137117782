"""The stage `ingest`: catalog and packs from params and pins."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from fclip.catalog.sources.registry import describe
from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.mirror.source_access import SourceAccess
from tasks.ingest import ingest
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

HERE = Path(__file__).resolve().parents[2]
DATASETS = Path(os.environ.get("FCLIP_DATASETS", HERE / ".." / "shared" / "datasets")).resolve()


def workspace_with(root: Path, params: dict[str, Any]) -> Workspace:
    """A workspace with these params and pinned sources."""
    from fclip.catalog.config import IngestConfig

    workspace = Workspace(root)
    workspace.params.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    access = SourceAccess(root, workspace.mirror)
    for name, dataset in load_section(workspace, "ingest", IngestConfig).datasets.items():
        write_json(workspace.source_pin(name), {"dataset": name, **describe(dataset.source, access)})
    return workspace


def small_params() -> dict[str, Any]:
    params: dict[str, Any] = yaml.safe_load((HERE / "params.yaml").read_text(encoding="utf-8"))
    params["ingest"]["settings"]["limit"] = 40
    return params


def test_ingest_of_the_default_datasets(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, small_params())
    for dataset in ("studio", "street"):
        summary = ingest(workspace, dataset)
        assert summary.num_products == 40
        assert read_json(workspace.catalog(dataset) / "ingest.json")["dataset"] == dataset
        assert list(workspace.images(dataset).glob("pack-*.parquet"))


def test_unknown_dataset_error_lists_the_known_datasets(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, small_params())
    with pytest.raises(UserError, match=r"ingest.datasets of .*: no dataset `studo`; it has studio, street"):
        ingest(workspace, "studo")


def test_unknown_source_kind_error_lists_the_known_kinds(tmp_path: Path) -> None:
    params = small_params()
    params["ingest"]["datasets"]["street"]["source"]["kind"] = "folder"
    with pytest.raises(UserError, match=r"ingest.datasets.street.source: `kind` must be one of clothing, fmnist, hub"):
        workspace_with(tmp_path, params)


def test_ingest_without_a_pin_is_refused(tmp_path: Path) -> None:
    workspace = workspace_with(tmp_path, small_params())
    workspace.source_pin("studio").unlink()
    with pytest.raises(UserError, match="run `fclip pin`"):
        ingest(workspace, "studio")
    assert not workspace.catalog("studio").exists()


@pytest.mark.skipif(not (DATASETS / "kagl").is_dir(), reason=f"no real data at {DATASETS}")
@pytest.mark.parametrize("dataset", ["kagl", "clothing", "fmnist"])
def test_ingest_of_real_data(tmp_path: Path, dataset: str) -> None:
    params: dict[str, Any] = yaml.safe_load((HERE / "params" / "kagl.yaml").read_text(encoding="utf-8"))
    params["ingest"]["settings"]["limit"] = 400
    for name, each in params["ingest"]["datasets"].items():
        each["source"]["path"] = str(DATASETS / name)
    params["ingest"]["datasets"] = {dataset: params["ingest"]["datasets"][dataset]}
    workspace = workspace_with(tmp_path, params)
    summary = ingest(workspace, dataset)
    assert summary.num_rows == 400 == summary.num_products + summary.num_refused
    assert set(summary.splits) == set(params["ingest"]["datasets"][dataset]["roles"])
    products = pq.read_table(workspace.catalog(dataset) / "products.parquet")
    labels = {
        dict(attributes).get("label", dict(attributes).get("category1"))
        for attributes in products["attributes"].to_pylist()
    }
    assert len(labels) >= {"kagl": 4, "clothing": 12, "fmnist": 10}[dataset]
    assert max(read_json(workspace.source_pin(dataset))["num_rows"], 0) >= {"kagl": 40_001}.get(dataset, 3_750)
