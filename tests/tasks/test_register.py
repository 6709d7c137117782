"""`register`, `compare_models` and `write_report` on a workspace of 40 coloured squares, without training."""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file, save_file

from fclip.audits.result import read_audits, write_audits
from fclip.base_models.pinning import BaseModelPin
from fclip.base_models.registry import Origin
from fclip.captions.table import SCHEMA as CAPTIONS
from fclip.errors import UserError
from fclip.files import read_json, sha256_bytes, sha256_tree
from fclip.images.packs import StoredImage
from fclip.models.candidates import Candidate, write_candidates
from fclip.registry import tags
from fclip.registry.backend import connect
from fclip.registry.store import find_version, versions
from fclip.selection.result import read_selection, write_selection
from tasks.audit import main as audit
from tasks.average import average
from tasks.evaluate import evaluate
from tasks.gather import main as gather
from tasks.model_card import model_card_of
from tasks.promote import compare_models, promote
from tasks.register import NotRegistered, Receipt, register
from tasks.report import write_report
from tasks.select import main as select
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin
from tests.conftest import make_tiny_base_model
from tests.packs import write_packs
from tests.small_audits import small_audits
from tests.tiny_shop import write_ingest

ROLES = {"shop": {"train": "train", "val": "select", "test": "report"}, "street": {"val": "select", "test": "report"}}
COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200)}


def params(rule: str) -> dict:
    source = {"kind": "sample", "domain": "studio", "num_products": 20, "seed": 0}
    classification = {
        "kind": "zero-shot",
        "label": "colour",
        "templates": ["a {} thing"],
        "wordings": {},
        "pool": "mean",
    }
    scored = {
        "primary": "classification.acc1",
        "max_items": None,
        "slices": [],
        "protocols": {"classification": classification},
    }
    return {
        "base": {"workspace": "squares", "registered_model": "fclip-squares", "seed": 0},
        "ingest": {
            "settings": {"image": {"stored_side": 32, "max_pixels": 100_000}},
            "datasets": {
                name: {"source": source, "split": {split: 1 / len(roles) for split in roles}, "roles": roles}
                for name, roles in ROLES.items()
            },
        },
        "caption": {"datasets": {name: {"head": "colour"} for name in ROLES}},
        "evaluate": {
            "settings": {"device": "cpu", "batch_size": 16, "resamples": 50},
            "datasets": dict.fromkeys(ROLES, scored),
        },
        "finetune": {"base_model": {"kind": "local", "path": "mine"}},
        "average": {"methods": []},
        "select": {"rule": rule, "in_domain_tolerance": 1.0, "tie_confidence": None},
        "audit": {},
        "promote": {"confidence": 0.9},
    }


def draw(space: Workspace, dataset: str) -> None:
    """Write a catalog of 20 squares with its packs."""
    random = np.random.default_rng(len(dataset))
    images, rows = [], []
    splits = list(ROLES[dataset])
    for i in range(20):
        colour = ("red", "blue")[i // len(splits) % 2]
        pixels = np.clip(random.normal(COLOURS[colour], 60, (32, 32, 3)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        content = buffer.getvalue()
        images.append(StoredImage(sha256_bytes(content), content, 32, 32))
        rows.append(
            {"product_id": f"{dataset}-{i:02d}", "group_id": str(i), "split": splits[i % len(splits)],
             "attributes": [("colour", colour)], "texts": [], "images": [images[-1].sha256]}
        )  # fmt: skip
    folder = space.catalog(dataset)
    folder.mkdir(parents=True)
    strings = pa.map_(pa.string(), pa.string())
    schema = pa.schema(
        [("product_id", pa.string()), ("group_id", pa.string()), ("split", pa.string()), ("attributes", strings),
         ("texts", strings), ("images", pa.list_(pa.string()))]
    )  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "products.parquet")
    write_ingest(space, dataset, rows, images)
    captions = [{"product_id": row["product_id"], "split": row["split"], "captions": []} for row in rows]
    space.captions(dataset).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(captions, schema=CAPTIONS), space.captions(dataset))
    write_packs(space.images(dataset), images)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluated workspace with a model selected by `last`, and an empty registry. Copy it before changing it."""
    root = tmp_path_factory.mktemp("squares")
    space = Workspace(root / "space")
    space.root.mkdir()
    space.params.write_text(yaml.safe_dump(params("last")))
    for dataset in ROLES:
        draw(space, dataset)
    gather(space)
    base_model = make_tiny_base_model(space.finetune / "candidates" / "base-model")
    listed = []
    for step in (0, 3):
        name = f"step-{step:06d}" if step else "base-model"
        folder = space.finetune / "candidates" / name
        if step:
            shutil.copytree(base_model, folder)
            weights = load_file(base_model / "open_clip_model.safetensors")
            moved = {key: value * np.float32(1.3) if value.ndim > 1 else value for key, value in weights.items()}
            save_file(moved, folder / "open_clip_model.safetensors")
        kind, loss = ("checkpoint", 3.1) if step else ("base", 3.6)
        listed.append(Candidate(name, kind, step, step / 3, sha256_tree(folder), val_loss=loss))
    write_candidates(space.finetune / "candidates.json", listed)
    (space.finetune / "history.csv").write_text("step,epoch,train_loss\n1,0.3,3.5\n2,0.7,3.0\n3,1,nan\n")
    (space.finetune / "validation.csv").write_text(
        "candidate,kind,step,val_loss\nstart,base,0,3.6\nstep-000003,checkpoint,3,3.1\nema-000003,ema,3,3.0\n"
    )
    write_pin(space.base_model_pin, BaseModelPin("local", {"path": "mine"}, Origin({}), listed[0].model_sha256))
    average(space)
    for dataset in ROLES:
        evaluate(space, dataset)
    select(space)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCLIP_HOME", str(root / "home"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect()
    return root


@pytest.fixture
def space(squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    shutil.copytree(squares, tmp_path / "copy")
    monkeypatch.setenv("FCLIP_HOME", str(tmp_path / "copy" / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(tmp_path / "copy" / "space")


def test_registered_run_has_params_curves_scores_and_lineage(space: Workspace) -> None:
    space.dvc_lock.write_text(yaml.safe_dump({"stages": {"select": {"cmd": "a"}, "embed": {"cmd": "b"}}}))

    receipt = register(space)

    assert isinstance(receipt, Receipt)
    assert (receipt.version, receipt.created) == (1, True)
    assert receipt.model_sha256 == sha256_tree(space.selected)
    found = find_version("fclip-squares", "challenger")
    assert set(found.headline) == {f"{d}.{s}.classification.acc1" for d in ROLES for s in ("val", "test")}
    assert found.tags[f"{tags.DATASET_SHA256}shop"] == sha256_tree(space.catalog("shop"))
    assert found.tags[tags.WORKSPACE] == "squares"
    assert found.tags[tags.BASE_MODEL_SHA256] == read_json(space.base_model_pin)["model_sha256"]
    client = connect()
    run = client.get_run(found.run_id)
    assert run.data.params["ingest.datasets.shop.roles.val"] == "select"
    assert (
        run.data.metrics["selected/street/test/classification.acc1"]
        == found.headline["street.test.classification.acc1"]
    )
    assert "base-model/street/test/classification.acc1" in run.data.metrics
    assert [(p.step, p.value) for p in client.get_metric_history(found.run_id, "validation/loss")] == [
        (0, 3.6),
        (3, 3.1),
    ]
    averaged = client.get_metric_history(found.run_id, "validation/mean_loss")
    assert [(p.step, p.value) for p in averaged] == [(3, 3.0)]
    assert {p.step for p in client.get_metric_history(found.run_id, "train/loss")} == {1, 2, 3}
    artifacts = {entry.path for entry in client.list_artifacts(found.run_id)}
    assert {"params.yaml", "dvc.lock", "selection.json", "evaluation", "training", "pins", "profile.json"} <= artifacts
    assert (
        pq.read_metadata(space.trained_rows).num_rows == 7
    )  # every third of the 20 products of `shop` is a training product
    assert space.trained_rows.name in artifacts

    # The outputs of `embed` do not change the lineage, and the same weights give no second version.
    before = found.tags[tags.DVC_LOCK_SHA256]
    space.dvc_lock.write_text(yaml.safe_dump({"stages": {"select": {"cmd": "a"}, "embed": {"cmd": "c"}}}))
    from fclip.registry.lineage import lineage

    assert lineage(space.root).dvc_lock_sha256 == before
    assert register(space) == Receipt("fclip-squares", 1, receipt.model_sha256, created=False)
    assert len(versions("fclip-squares")) == 1


def test_original_base_model_is_registered_without_training_rows(space: Workspace) -> None:
    space.selection.write_text(space.selection.read_text().replace("step-000003", "original-base-model"))
    selection = read_selection(space.selection)
    original = replace(selection.selected, candidate=replace(selection.selected.candidate, kind="original-base-model"))
    write_selection(space.selection, replace(selection, candidates=(selection.base, original)))
    for dataset in ROLES:
        table = pq.read_table(space.evaluation(dataset))
        names = [{"step-000003": "original-base-model"}.get(name, name) for name in table["candidate"].to_pylist()]
        place = table.column_names.index("candidate")
        pq.write_table(table.set_column(place, "candidate", pa.array(names)), space.evaluation(dataset))
    register(space)
    client = connect()
    artifacts = {entry.path for entry in client.list_artifacts(find_version("fclip-squares", "challenger").run_id)}
    assert "profile.json" in artifacts
    assert space.trained_rows.name not in artifacts


def test_base_model_as_winner_is_not_registered(space: Workspace) -> None:
    selection = read_selection(space.selection)
    write_selection(space.selection, replace(selection, winner="base-model", reason="it did not help"))
    assert register(space) == NotRegistered("the base model was selected: it did not help")
    assert versions("fclip-squares") == []
    page = write_report(space, NotRegistered("the base model was selected: it did not help"), None).read_text()
    assert "No new version was registered: the base model was selected." in page


def test_model_that_was_not_selected_is_not_registered(space: Workspace) -> None:
    (space.selected / "extra.json").write_text("{}")
    with pytest.raises(UserError, match="dvc repro select"):
        register(space)
    shutil.rmtree(space.selected)
    with pytest.raises(UserError, match="has no selected model"):
        register(space)
    assert versions("fclip-squares") == []


def test_compare_models_uses_all_select_splits(space: Workspace) -> None:
    base_model, other = (space.finetune / "candidates" / name for name in ("base-model", "step-000003"))
    forth, back = compare_models(space, base_model, other), compare_models(space, other, base_model)
    assert [(c.dataset, c.split, c.in_domain) for c in forth] == [("shop", "val", True), ("street", "val", False)]
    for one, two in zip(forth, back, strict=True):
        assert one.difference == pytest.approx(one.challenger - one.champion)
        assert (one.difference, one.low, one.high) == pytest.approx((-two.difference, -two.high, -two.low))
    same = compare_models(space, base_model, base_model)
    assert all((c.difference, c.low, c.high) == (0, 0, 0) and not (c.better or c.worse) for c in same)


def test_audits_are_metrics_and_an_artifact_of_the_run_and_part_of_card_and_report(space: Workspace) -> None:
    with small_audits():
        audit(space)
        receipt = register(space)
        client = connect()
        run = find_version("fclip-squares", "challenger").run_id
        metrics = client.get_run(run).data.metrics
        stored = {each.model: each for each in read_audits(space.audits) if each.headline}
        for model in ("base-model", "selected"):
            assert metrics[f"{model}/shop/test/audit.spread"] == pytest.approx(stored[model].headline.value)
        assert "audits.json" in {entry.path for entry in client.list_artifacts(run)}
        card = model_card_of(space, "challenger", space.selected)
        assert "### Spread: shop, test" in card
        assert "- No product has a gender; add the attribute to the source." in card
        page = write_report(space, receipt, None).read_text(encoding="utf-8")
        assert "Do images differ?" in page

        other = replace(stored["selected"], model_sha256="other weights")
        write_audits(space.audits, [stored["base-model"], other])  # the selection has changed since
        page = write_report(space, receipt, None).read_text(encoding="utf-8")
        assert page.count('<th class="n">selected</th>') == 0


def test_report_shows_the_results_of_the_run(space: Workspace) -> None:
    receipt = register(space)
    assert isinstance(receipt, Receipt)
    promotion = promote(space, receipt, verify=lambda space, version: None)  # the copy has no products
    page = write_report(space, receipt, promotion).read_text(encoding="utf-8")
    assert space.report.is_file()
    for text in ("Version 1 is the new champion.", "step-000003", "truncated image", receipt.model_sha256, "street"):
        assert text in page
    assert json.loads(space.champion_pin.read_text())["version"] == 1
