"""The stage `audit`: the base model and the selected model on the report splits, with derived datasets."""

import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from fclip.audits.data import AuditData
from fclip.audits.registry import AuditPlan, NotMeasurable
from fclip.audits.result import read_audits
from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.models.digests import model_sha256
from fclip.shifts.counts import COUNTS, DerivedCounts, SplitCounts, write_counts
from tasks.audit import audit_on
from tasks.audit import main as audit
from tasks.promote import audit_both
from tasks.workspace.paths import Workspace
from tests.packs import write_packs
from tests.small_audits import SPREAD, SpreadPlan, small_audits
from tests.tiny_shop import make_shop, picture, tiny_clip


@pytest.fixture(autouse=True)
def few_audits() -> Iterator[None]:
    with small_audits():
        yield


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_shop(tmp_path_factory.mktemp("shop") / "shop")
    shutil.copytree(workspace.candidate("step-000020"), workspace.selected)
    return workspace


@pytest.fixture
def workspace(prepared: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(prepared.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def set_params(workspace: Workspace, **sections: object) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    workspace.params.write_text(yaml.safe_dump({**params, **sections}))


def derive(workspace: Workspace, name: str) -> None:
    """Write a derived dataset of every second product of studio."""
    table = pq.read_table(workspace.catalog("studio") / "products.parquet")
    rows = table.to_pylist()[::2]
    images = [picture((9, 9, 9), 5000 + number) for number in range(len(rows))]
    copies = [{**row, "images": [image.sha256]} for row, image in zip(rows, images, strict=True)]
    folder = workspace.derived(name)
    folder.mkdir(parents=True)
    write_counts(folder / COUNTS, DerivedCounts("studio", "scene", {"test": SplitCounts("report", 6, 6)}, "is grey"))
    pq.write_table(pa.Table.from_pylist(copies, schema=table.schema), folder / "products.parquet")
    write_packs(folder / "images", images)


def test_base_and_selected_are_audited_on_the_report_split_of_the_training_dataset(workspace: Workspace) -> None:
    audit(workspace)
    results = read_audits(workspace.audits)
    assert [(each.kind, each.dataset, each.split, each.model) for each in results] == [
        (kind, "studio", "test", model) for kind in ("spread", "gender") for model in ("base-model", "selected")
    ]
    base, selected, *others = results
    assert base.model_sha256 == model_sha256(workspace.candidate("base-model"))
    assert selected.model_sha256 == sha256_tree(workspace.selected)
    assert base.headline.num_items == 12
    assert base.headline.value != selected.headline.value
    assert (base.status, base.limit) == ("failed", 0.0)
    changes = [{measure.name: measure.value for measure in each.measures}["change"] for each in (base, selected)]
    assert changes[0] == 0  # the base model has no base
    assert changes[1] > 0
    assert base.not_measured == ("There is no copy in a scene; add one to derive.datasets.",)
    for each in others:
        assert (each.status, each.headline) == ("not measured", None)
        assert each.not_measured == ("No product has a gender; add the attribute to the source.",)


def test_results_do_not_depend_on_the_cache_and_are_logged(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    audit(workspace)
    before = workspace.audits.read_bytes()
    shutil.rmtree(workspace.cache)
    caplog.set_level(logging.INFO)
    audit(workspace)
    assert workspace.audits.read_bytes() == before
    assert "spread on studio test  base-model" in caplog.text
    assert "No product has a gender" in caplog.text


def test_derived_datasets_are_read_by_their_shift(workspace: Workspace) -> None:
    for name in ("studio-scene", "studio-white"):
        derive(workspace, name)
    of_studio = {
        "studio-white": {"of": "studio", "shift": {"kind": "scene", "ground": "white"}},
        "studio-scene": {"of": "studio", "shift": {"kind": "scene"}},
        "street-camera": {"of": "street", "shift": {"kind": "camera"}},  # not in domain
    }
    set_params(workspace, derive={"datasets": of_studio})
    audit(workspace)
    spread = read_audits(workspace.audits)[0]
    assert {measure.name: measure.value for measure in spread.measures}["scenes"] == 6
    assert spread.headline.num_items == 18
    assert spread.not_measured == ()
    shutil.rmtree(workspace.derived("studio-scene"))
    with pytest.raises(UserError, match="dvc repro derive@studio-scene"):
        audit(workspace)


def test_settings_change_limits_and_the_number_of_products(workspace: Workspace) -> None:
    set_params(workspace, audit={"max_items": 5, "limits": {"spread": 99.0}})
    audit(workspace)
    spread = read_audits(workspace.audits)[0]
    assert (spread.status, spread.limit, spread.headline.num_items) == ("passed", 99.0, 5)
    set_params(workspace, audit={"limits": {"spread": None}})
    audit(workspace)
    assert read_audits(workspace.audits)[0].status == "no limit"


def test_a_headline_of_another_quantity_has_no_limit(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = SpreadPlan.measure
    monkeypatch.setattr(SpreadPlan, "measure", lambda *arguments: replace(measure(*arguments), has_limit=False))
    set_params(workspace, audit={"limits": {"spread": 0.0}})
    audit(workspace)
    spread = read_audits(workspace.audits)[0]
    assert (spread.status, spread.limit) == ("no limit", None)


def test_an_attribute_of_one_dataset_is_no_fault_of_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workspace.catalog("street") / "products.parquet"
    table = pq.read_table(path)
    rows = [{**row, "attributes": [("maker", "Ostra")]} for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    brands = {}
    plan = SPREAD.plan

    def planned(data: AuditData) -> AuditPlan | NotMeasurable:
        brands[data.dataset] = data.attributes.brand
        return plan(data)

    monkeypatch.setattr("fclip.audits.run.audits", lambda: {"spread": replace(SPREAD, plan=planned)})
    set_params(workspace, audit={"attributes": {"brand": "maker"}})
    audit_on(workspace, {"selected": workspace.selected}, ["studio", "street"])
    assert brands == {"studio": None, "street": "maker"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"limits": {"moon": 0.1}}, "limits: unknown audit moon; the audits are spread, gender"),
        ({"limits": {"spread": -1}}, "limits: spread must be null or a number from 0"),
        ({"attributes": {"size": "cut"}}, "attributes: unknown meaning size; the meanings are category, colour"),
        ({"attributes": {"brand": "maker"}}, "audit.attributes.brand: no product has the attribute `maker`"),
        ({"max_items": 0}, "max_items must be at least 1"),
    ],
)
def test_faults_in_the_section_are_named(workspace: Workspace, section: object, message: str) -> None:
    set_params(workspace, audit=section)
    with pytest.raises(UserError, match=message):
        audit(workspace)


def test_numbers_that_are_not_finite_are_not_measured(workspace: Workspace) -> None:
    shutil.rmtree(workspace.selected)
    tiny_clip(workspace.selected, broken=True)
    audit(workspace)
    result = next(each for each in read_audits(workspace.audits) if (each.kind, each.model) == ("spread", "selected"))
    assert result.status == "not measured"
    assert "spread of the images: the features of the model do not give a number." in result.not_measured


def test_champion_and_challenger_are_audited_beside_the_base_model(workspace: Workspace) -> None:
    champion = workspace.candidate("step-000010")
    results = [each for each in audit_both(workspace, champion, workspace.selected) if each.kind == "spread"]
    assert [each.model for each in results] == ["base-model", "champion", "challenger"]
    audit(workspace)
    stored = read_audits(workspace.audits)
    assert (results[0].headline, results[2].headline) == (stored[0].headline, stored[1].headline)
    assert np.isfinite(results[1].headline.value)


def test_without_data_for_audits_the_stage_says_so(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    del params["ingest"]["datasets"]["studio"]["roles"]["test"]
    set_params(workspace, **params)
    audit(workspace)
    assert read_audits(workspace.audits) == ()
    assert "Nothing is audited" in caplog.text
    with pytest.raises(UserError, match="studio: no split has the role report"):
        audit_on(workspace, {"selected": workspace.selected}, ["studio"])
    shutil.rmtree(workspace.selected)
    with pytest.raises(UserError, match="dvc repro select"):
        audit(workspace)
