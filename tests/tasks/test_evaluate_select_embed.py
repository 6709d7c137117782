"""The stages `evaluate`, `select` and `embed` on a tiny workspace: their outputs and reruns."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from fclip.embeddings.store import read_embeddings
from fclip.errors import UserError
from fclip.features.encode import encode_texts
from fclip.features.similarity import unit
from fclip.files import read_json, sha256_tree, write_json
from fclip.models.store import load
from fclip.selection.result import read_selection
from fclip.selection.rules.registry import rules
from tasks.embed import main as embed
from tasks.evaluate import evaluate
from tasks.gather import main as gather
from tasks.promote import compare_models
from tasks.select import main as select
from tasks.workspace.paths import Workspace
from tests.tiny_shop import make_shop, write_candidates


def run(workspace: Workspace) -> None:
    for dataset in ("studio", "street"):
        evaluate(workspace, dataset)
    gather(workspace)
    select(workspace)
    embed(workspace)


def outs(workspace: Workspace) -> dict[str, str]:
    folders = (workspace.root / "reports", workspace.selected, workspace.embeddings)
    return {folder.name: sha256_tree(folder) for folder in folders}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_shop(tmp_path_factory.mktemp("shop") / "shop")
    run(workspace)
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    """A copy that a test may change."""
    shutil.copytree(finished.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def set_params(workspace: Workspace, section: str, **values: object) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params[section] |= values
    workspace.params.write_text(yaml.safe_dump(params))


def test_rerun_without_cache_gives_the_same_bytes(workspace: Workspace) -> None:
    before = outs(workspace)
    run(workspace)
    assert outs(workspace) == before
    shutil.rmtree(workspace.cache)
    embed(workspace)  # in another order, from an empty cache
    evaluate(workspace, "street")
    evaluate(workspace, "studio")
    assert outs(workspace) == before


def test_evaluation_table_has_every_candidate_and_role(finished: Workspace) -> None:
    rows = pq.read_table(finished.evaluation("studio")).to_pylist()
    candidates = {entry["name"]: entry for entry in read_json(finished.finetune / "candidates.json")}
    assert {(row["candidate"], row["step"], row["model_sha256"]) for row in rows} == {
        (name, entry["step"], entry["model_sha256"]) for name, entry in candidates.items()
    }
    assert {(row["split"], row["role"]) for row in rows} == {("val", "select"), ("test", "report")}
    assert {row["protocol"] for row in rows} == {"classification", "retrieval.text_to_image", "retrieval.image_to_text"}
    num_items = {row["num_items"] for row in rows if (row["split"], row["protocol"]) == ("val", "classification")}
    assert max(num_items) <= 20  # max_items minus items without a label
    street = pq.read_table(finished.evaluation("street"))
    assert set(street["role"].to_pylist()) == {"select", "report"}


def test_select_copies_the_winner_and_records_the_reason(finished: Workspace) -> None:
    selection = read_selection(finished.selection)
    assert sha256_tree(finished.selected) == selection.selected.candidate.model_sha256
    assert set(selection.choices) == {
        *("nearest_to_base", "mean_normalised_gain", "mean_score", "mean_rank"),
        *("in_domain_loss", "in_domain_metric", "last"),
    }
    assert selection.choices["last"] == "step-000020"
    assert selection.choices["in_domain_loss"] == "step-000020"
    assert selection.choices["mean_normalised_gain"] == selection.winner
    assert set(selection.candidates[1].out_of_domain) == {"street"}
    assert selection.reason


def test_every_held_metric_is_read_by_selection_and_gate(workspace: Workspace) -> None:
    recall = "retrieval.text_to_image.recall_at_10"
    params = yaml.safe_load(workspace.params.read_text())
    params["evaluate"]["datasets"]["studio"]["holds"] = [recall]
    params["select"] = {"rule": "nearest_to_base", "in_domain_tolerance": 0.03}
    workspace.params.write_text(yaml.safe_dump(params))
    evaluate(workspace, "studio")
    select(workspace)
    rows = {
        (row["candidate"], row["protocol"], row["metric"]): row["value"]
        for row in pq.read_table(workspace.evaluation("studio")).to_pylist()
        if row["role"] == "select"
    }
    draws = {
        (row["candidate"], row["metric"]): np.array(row["draws"])
        for row in pq.read_table(workspace.evaluation_draws("studio")).to_pylist()
    }
    selection = read_selection(workspace.selection)
    names = [entry.name for entry in selection.candidates]
    for held, metric in (("studio", "classification.acc1"), (f"studio.{recall}", recall)):
        protocol, _, name = metric.rpartition(".")
        best = max(names, key=lambda each: rows[each, protocol, name])
        for entry in selection.candidates:
            score = entry.held[held]
            assert score.value == pytest.approx(rows[entry.name, protocol, name], abs=1e-6)
            assert score.deficit == pytest.approx(rows[best, protocol, name] - score.value, abs=1e-6)
            error = (draws[best, metric] - draws[entry.name, metric]).std(ddof=1)
            assert score.accepted == pytest.approx(max(0.03, error), abs=1e-5)
    for entry in selection.candidates[1:]:
        assert entry.eligible == all(score.deficit <= score.accepted + 1e-6 for score in entry.held.values())
    gate = compare_models(workspace, workspace.candidate("base-model"), workspace.candidate("step-000020"))
    compared = {(each.dataset, each.metric): each for each in gate}
    assert set(compared) == {
        ("studio", "classification.acc1"),
        ("studio", recall),
        ("street", "classification.acc1"),
    }
    protocol, _, name = recall.rpartition(".")
    difference = rows["step-000020", protocol, name] - rows["base-model", protocol, name]
    assert compared["studio", recall].difference == pytest.approx(difference)


def test_shop_without_another_dataset_selects_without_a_warning_about_it(workspace: Workspace) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    for section in ("ingest", "evaluate"):
        del params[section]["datasets"]["street"]
    params["select"] = {}
    workspace.params.write_text(yaml.safe_dump(params))
    select(workspace)
    selection = read_selection(workspace.selection)
    assert (selection.rule, selection.in_domain_tolerance) == ("nearest_to_base", 0.01)
    assert "reads no other dataset" in selection.reason or not selection.differs_from_base
    assert "domain" not in (selection.warning or "")
    params["select"] = {"rule": "mean_score"}
    workspace.params.write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match="mean_score reads out-of-domain datasets, and none has the role select"):
        select(workspace)


def test_label_free_rules_read_label_free_metrics(workspace: Workspace) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["evaluate"]["datasets"]["street"]["protocols"]["unlabelled"] = {
        "kind": "label-free",
        "classes": ["red", "green", "blue"],
        "templates": ["a photo of a {}"],
    }
    params["select"]["rule"] = "margin"
    workspace.params.write_text(yaml.safe_dump(params))
    evaluate(workspace, "street")
    select(workspace)
    selection = read_selection(workspace.selection)
    assert set(selection.choices) == set(rules())
    assert {"margin", "alignment"} <= set(selection.choices)
    assert selection.rule == "margin"
    rows = pq.read_table(workspace.evaluation("street")).to_pylist()
    margins = {row["candidate"]: row["value"] for row in rows if (row["role"], row["metric"]) == ("select", "margin")}
    assert {entry.name: entry.score for entry in selection.candidates} == pytest.approx(margins, abs=1e-6)


def test_select_follows_the_rule_in_params(workspace: Workspace) -> None:
    set_params(workspace, "select", rule="last")
    select(workspace)
    assert read_selection(workspace.selection).winner == "step-000020"


def test_candidate_with_nonfinite_features_is_recorded_and_never_selected(workspace: Workspace) -> None:
    shutil.rmtree(workspace.finetune)
    write_candidates(workspace, broken=True)
    set_params(workspace, "select", rule="last")
    run(workspace)
    selection = read_selection(workspace.selection)
    broken = selection.candidates[-1]
    assert (broken.name, broken.eligible, broken.candidate.val_loss) == ("step-000030", False, None)
    assert broken.num_nonfinite > 0
    assert selection.winner == "step-000020"
    assert "step-000030" not in selection.choices.values()


def test_select_refuses_missing_evaluations_and_other_weights(workspace: Workspace) -> None:
    before = sha256_tree(workspace.selected)
    candidates = read_json(workspace.averages / "candidates.json")
    candidates[1]["model_sha256"] = "f" * 64
    write_json(workspace.averages / "candidates.json", candidates)
    with pytest.raises(UserError, match=r"step-000010 with the weights f{12}.*dvc repro evaluate@street"):
        select(workspace)
    workspace.evaluation("street").unlink()
    with pytest.raises(UserError, match="dvc repro evaluate@street"):
        select(workspace)
    assert sha256_tree(workspace.selected) == before


def test_embed_covers_all_products_of_training_datasets(finished: Workspace) -> None:
    products = pq.read_table(finished.catalog("studio") / "products.parquet").to_pylist()
    images = pq.read_table(finished.embeddings / "images.parquet")
    texts = pq.read_table(finished.embeddings / "texts.parquet")
    assert images.column_names == ["dataset", "product_id", "image_sha256", "model_sha256", "embedding"]
    assert images["image_sha256"].to_pylist() == [digest for row in products for digest in row["images"]]
    assert set(images["dataset"].to_pylist()) == {"studio"}
    assert texts["product_id"].to_pylist() == [row["product_id"] for row in products]
    assert set(texts["kind"].to_pylist()) == {"title", "short"}  # products without a title use another kind
    digest = sha256_tree(finished.selected)
    for table in (images, texts):
        assert set(table["model_sha256"].to_pylist()) == {digest}
        vectors = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    manifest = read_json(finished.embeddings / "manifest.json")
    assert manifest["model_sha256"] == digest
    assert (manifest["num_products"], manifest["num_images"], manifest["dim"]) == (66, len(images), 16)


def test_embed_reuses_features_of_evaluation(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(workspace.cache)
    evaluate(workspace, "studio")
    caplog.set_level("INFO")
    embed(workspace)
    (message,) = [record.getMessage() for record in caplog.records if "from the cache" in record.getMessage()]
    evaluated = {
        row["images"][0]
        for row in pq.read_table(workspace.catalog("studio") / "products.parquet").to_pylist()
        if row["split"] != "train"
    }
    cached = int(message.split(", read ")[1].split()[0])
    assert cached >= 25
    assert len(evaluated) > 25
    caplog.clear()
    embed(workspace)
    assert "encoded 0 images and texts" in caplog.text


def test_embed_uses_the_champion_if_there_is_one(workspace: Workspace) -> None:
    selected = sha256_tree(workspace.selected)
    other = next(
        entry
        for entry in read_json(workspace.finetune / "candidates.json")
        if entry["model_sha256"] != selected and entry["step"]
    )
    digest = other["model_sha256"]
    shutil.copytree(workspace.finetune / "candidates" / other["name"], workspace.model_cache / digest)
    write_json(workspace.champion_pin, {"registered_model": "fclip-shop", "version": 1, "model_sha256": digest})
    embed(workspace)
    embeddings = read_embeddings(workspace.embeddings)
    assert embeddings.model_sha256 == digest
    clip = load(workspace.model_cache / digest)
    (expected,) = unit(encode_texts(clip, [embeddings.titles["studio", embeddings.product_ids[0]]]))
    texts = pq.read_table(workspace.embeddings / "texts.parquet")
    np.testing.assert_allclose(texts["embedding"][0].as_py(), expected, atol=1e-5)


def test_embed_with_nonfinite_features_keeps_the_old_embeddings(workspace: Workspace) -> None:
    before = sha256_tree(workspace.embeddings)
    shutil.rmtree(workspace.finetune)
    write_candidates(workspace, broken=True)
    shutil.rmtree(workspace.selected)
    shutil.copytree(workspace.finetune / "candidates" / "step-000030", workspace.selected)
    with pytest.raises(UserError, match="not finite"):
        embed(workspace)
    assert sha256_tree(workspace.embeddings) == before
