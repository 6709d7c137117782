"""Evaluation of a dataset end to end on tiny models, against naive scores."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import DatasetFiles, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.protocols.retrieval import RetrievalConfig, retrieval
from fclip.evaluation.protocols.zero_shot import ZeroShotConfig, zero_shot
from fclip.evaluation.run import Evaluation, RunOptions, evaluate_models
from fclip.evaluation.table import long_table
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.images.tensors import normalise
from fclip.models.store import load
from tasks.workspace.paths import Workspace
from tests.tiny_shop import make_shop, tiny_clip

OPTIONS = RunOptions("cpu", 8, Resampling(resamples=50, confidence=0.9, seed=0))
CLASSIFICATION = ZeroShotConfig(
    kind="zero-shot", label="colour", templates=["a photo of a {}", "{}, {}"], wordings={"grey": "gray"}, pool="mean"
)
RETRIEVAL = RetrievalConfig(kind="retrieval", caption="title")
CONFIG = DatasetEvaluation(
    primary="classification.macro_f1",
    max_items=None,
    slices=[],
    protocols={"classification": CLASSIFICATION, "retrieval": RETRIEVAL},
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def models(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("broken")
    folders = {name: workspace.finetune / "candidates" / name for name in ("base-model", "step-000010")}
    return {**folders, "broken": tiny_clip(folder / "broken", seed=9, broken=True)}


def files_of(workspace: Workspace, name: str, roles: dict[str, str]) -> DatasetFiles:
    products = workspace.catalog(name) / "products.parquet"
    return DatasetFiles(name, products, workspace.captions(name), workspace.images(name), roles)


@pytest.fixture(scope="module")
def files(workspace: Workspace) -> DatasetFiles:
    return files_of(workspace, "studio", {"train": "train", "val": "select", "test": "report"})


@pytest.fixture(scope="module")
def evaluation(files: DatasetFiles, models: dict[str, Path], workspace: Workspace) -> Evaluation:
    return evaluate_models(models, files, CONFIG, cache=workspace.feature_cache, options=OPTIONS)


def values(evaluation: Evaluation, model: str, split: str) -> dict[str, float]:
    return {
        f"{entry.protocol}.{entry.metric}": entry.estimate.value
        for entry in evaluation.scores
        if (entry.model, entry.split) == (model, split)
    }


def test_a_table_shows_the_primary_metric_of_each_model_and_split(evaluation: Evaluation) -> None:
    title, headings, *rows = evaluation.primary_table().splitlines()
    assert title == f"{evaluation.dataset}: {evaluation.primary}"
    sizes = {split: evaluation.primary_score("base-model", split).num_items for split in ("val", "test")}
    assert headings.split("  ")[-2:] == [f"val (select, n={sizes['val']})", f"test (report, n={sizes['test']})"]
    assert [row.split() for row in rows] == [
        [model, *(f"{evaluation.primary_score(model, split).estimate.value:.3f}" for split in ("val", "test"))]
        for model in evaluation.num_nonfinite
    ]


def naive_scores(folder: Path, files: DatasetFiles, split: str) -> dict[str, float]:
    """Compute some metrics one item at a time and with scikit-learn."""
    clip = load(folder)
    packs = ImagePacks([files.images])
    products = pq.read_table(files.products).to_pylist()
    titles = {
        row["product_id"]: caption["text"]
        for row in pq.read_table(files.captions).to_pylist()
        for caption in row["captions"]
        if caption["kind"] == "title"
    }

    def image(digest: str) -> torch.Tensor:
        pixels = torch.from_numpy(decode(packs.read(digest), clip.preprocess))[None]
        return clip.model.encode_image(normalise(pixels, clip.preprocess), normalize=True)[0]

    def text(words: str) -> torch.Tensor:
        return clip.model.encode_text(clip.tokenizer([words]), normalize=True)[0]

    with torch.no_grad():
        classes = ["blue", "green", "grey", "red"]
        wordings = ["blue", "green", "gray", "red"]
        prompts = [(text(f"a photo of a {c}") + text(f"{c}, {c}")) / 2 for c in wordings]
        labels, predictions, shown = [], [], []
        for row in products:
            if row["split"] != split:
                continue
            features = image(row["images"][0])
            if colour := dict(row["attributes"]).get("colour"):
                labels.append(colour)
                similarity = [float(features @ (p / p.norm())) for p in prompts]
                predictions.append(classes[int(np.argmax(similarity))])
            if row["product_id"] in titles:
                shown.append((features, titles[row["product_id"]]))
        recalls = []
        for title in dict.fromkeys(title for _, title in shown):
            similarity = np.array([float(features @ text(title)) for features, _ in shown])
            order = np.argsort(-similarity)
            relevant = {i for i, (_, own) in enumerate(shown) if own == title}
            recalls.append(len(relevant & set(order[:5].tolist())) / len(relevant))
    return {
        "classification.acc1": accuracy_score(labels, predictions),
        "classification.weighted_f1": f1_score(labels, predictions, average="weighted", zero_division=0),
        "retrieval.text_to_image.recall_at_5": float(np.mean(recalls)),
    }


@pytest.mark.parametrize("model", ["base-model", "step-000010"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_scores_equal_the_naive_reference(
    evaluation: Evaluation, models: dict[str, Path], files: DatasetFiles, model: str, split: str
) -> None:
    actual = values(evaluation, model, split)
    for metric, value in naive_scores(models[model], files, split).items():
        assert actual[metric] == pytest.approx(value), metric


def test_model_with_nonfinite_features_scores_zero_and_is_counted(evaluation: Evaluation) -> None:
    assert evaluation.num_nonfinite["base-model"] == 0
    assert evaluation.num_nonfinite["broken"] > 0
    assert set(values(evaluation, "broken", "val").values()) == {0.0}
    assert evaluation.compare("broken", "base-model", "val").low > 0


def test_compare_gives_the_paired_difference_of_the_primary_metric(evaluation: Evaluation) -> None:
    difference = evaluation.compare("base-model", "step-000010", "val")
    scores = [evaluation.primary_score(model, "val").estimate.value for model in ("base-model", "step-000010")]
    assert difference.value == pytest.approx(scores[1] - scores[0])
    assert difference.low <= difference.value <= difference.high
    itself = evaluation.compare("base-model", "base-model", "val")
    assert (itself.low, itself.high, itself.standard_error) == (0, 0, 0)


def test_long_table(evaluation: Evaluation) -> None:
    steps = {"base-model": 0, "step-000010": 10, "broken": 20}
    rows = long_table(evaluation, steps).to_pylist()
    assert len(rows) == 3 * 2 * (4 + 7 + 7)
    assert {row["role"] for row in rows if row["split"] == "test"} == {"report"}
    assert [row["metric"] for row in rows if row["primary"]] == ["macro_f1"] * 6
    assert all(row["low"] <= row["high"] for row in rows)
    (value,) = [
        row["value"]
        for row in rows
        if (row["candidate"], row["role"], row["protocol"], row["metric"])
        == ("base-model", "select", "classification", "acc1")
    ]
    assert value == values(evaluation, "base-model", "val")["classification.acc1"]
    assert {row["step"] for row in rows if row["candidate"] == "broken"} == {20}
    broken = [row for row in rows if row["candidate"] == "broken" and row["primary"]]
    assert [(row["value"], row["low"], row["high"]) for row in broken] == [(0, 0, 0)] * 2


def test_products_without_a_label_or_a_caption_are_left_out_and_counted(
    files: DatasetFiles, models: dict[str, Path], workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = read_catalog(files, with_captions=True)
    labelled = zero_shot(CLASSIFICATION, catalog, "val", None)
    titled = retrieval(RETRIEVAL, catalog, "val", None)
    assert len(labelled.images) == 20
    assert len(titled.images) == 22
    assert len(titled.texts) == 12  # titles come in pairs
    assert labelled.texts[4:6] == ("a photo of a gray", "gray, gray")
    caplog.set_level("INFO")
    evaluate_models({"base-model": models["base-model"]}, files, CONFIG, cache=workspace.feature_cache, options=OPTIONS)
    assert "val: left 4 items out of classification: no colour" in caplog.text
    assert "val: left 2 items out of retrieval: no caption `title`" in caplog.text


def test_retrieval_reads_the_first_caption_of_its_kind(files: DatasetFiles, tmp_path: Path) -> None:
    table = pq.read_table(files.captions)
    rows = table.to_pylist()
    for row in rows:
        row["captions"] += [{**caption, "text": "another"} for caption in row["captions"]]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "captions.parquet")
    several = read_catalog(replace(files, captions=tmp_path / "captions.parquet"), with_captions=True)
    assert several == read_catalog(files, with_captions=True)


def test_sample_does_not_depend_on_the_order_of_products(workspace: Workspace, files: DatasetFiles) -> None:
    catalog = read_catalog(files, with_captions=False)
    whole, some, fewer = ([each.product_id for each in catalog.products_in("train", most)] for most in (None, 12, 6))
    assert len(some) == 12
    assert set(fewer) < set(some) < set(whole)
    table = pq.read_table(files.products)
    other = workspace.root / "shuffled.parquet"
    pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), other)
    shuffled = read_catalog(replace(files, products=other), with_captions=False)
    assert [each.product_id for each in shuffled.products_in("train", 12)] == some


def test_splits_with_the_same_role_are_separate_rows(workspace: Workspace, models: dict[str, Path]) -> None:
    files = files_of(workspace, "street", {"val": "report", "test": "report"})
    config = replace(CONFIG, primary="classification.acc1", protocols={"classification": CLASSIFICATION})
    evaluation = evaluate_models(
        {"base-model": models["base-model"]}, files, config, cache=workspace.feature_cache, options=OPTIONS
    )
    rows = long_table(evaluation, {"base-model": 0}).to_pylist()
    assert {(row["split"], row["role"]) for row in rows} == {("val", "report"), ("test", "report")}


def test_user_errors_are_reported(files: DatasetFiles, models: dict[str, Path], workspace: Workspace) -> None:
    def run(files: DatasetFiles, config: DatasetEvaluation = CONFIG) -> None:
        evaluate_models(models, files, config, cache=workspace.feature_cache, options=OPTIONS)

    with pytest.raises(UserError, match="no split has the role select or report"):
        run(replace(files, roles={"train": "train"}))

    def with_protocol(name: str, protocol: ZeroShotConfig | RetrievalConfig) -> DatasetEvaluation:
        return replace(CONFIG, protocols={**CONFIG.protocols, name: protocol})

    with pytest.raises(UserError, match=r"studio: no product has the attribute `shape`; the attributes are colour"):
        run(files, with_protocol("shapes", replace(CLASSIFICATION, label="shape")))
    with pytest.raises(UserError, match="wordings of unknown classes: pink"):
        run(files, with_protocol("shapes", replace(CLASSIFICATION, wordings={"pink": "rose"})))
    with pytest.raises(UserError, match="none of the 24 products of the split val has a caption `highlights`"):
        run(files, with_protocol("long", replace(RETRIEVAL, caption="highlights")))
    with pytest.raises(UserError, match="none of the 0 products of the split other has a colour"):
        run(replace(files, roles={"other": "select"}))
    with pytest.raises(UserError, match="dvc repro ingest@studio"):
        run(replace(files, products=files.products.with_name("absent.parquet")))
    with pytest.raises(UserError, match="open_clip model folder"):
        evaluate_models(
            {"absent": workspace.root / "absent"}, files, CONFIG, cache=workspace.feature_cache, options=OPTIONS
        )
