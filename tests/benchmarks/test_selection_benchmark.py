"""The runs of the study: that every regime is a config, what a composite is, and that a run becomes a table."""

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from benchmarks.selection.random_tower import write_random_image_tower
from benchmarks.selection.run import StudyRun, regime_names
from benchmarks.selection.scores import write_scores
from benchmarks.selection.shop import SIDE, place_in_scene
from benchmarks.selection.tables import markdown
from fclip.base_models import fclip_tiny
from fclip.models.store import load
from tasks.workspace.params import read_params
from tests.conftest import REPOSITORY
from tests.tiny_shop import make_shop


@pytest.mark.parametrize("regime", regime_names())
def test_every_regime_is_a_config(regime: str) -> None:
    config = StudyRun(regime, 0).finetune
    assert config.num_candidates >= 8
    assert config.ema_decay is not None


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_a_product_on_white_is_put_elsewhere() -> None:
    image = Image.new("RGB", (60, 80), "white")
    image.paste((200, 20, 20), (15, 15, 45, 65))
    placed = place_in_scene(encoded(image), "17")
    assert placed is not None
    assert placed == place_in_scene(encoded(image), "17")
    pixels = np.asarray(Image.open(io.BytesIO(placed)).convert("RGB")).astype(int)
    assert pixels.shape == (SIDE, SIDE, 3)
    red = (pixels[..., 0] > 1.5 * pixels[..., 1]) & (pixels[..., 0] > 1.5 * pixels[..., 2])
    assert 0.03 < red.mean() < 0.6, "the product is there"
    assert (pixels.min(axis=2) > 245).mean() < 0.02, "its paper is not"
    assert place_in_scene(encoded(Image.new("RGB", (60, 80), (90, 90, 90))), "17") is None


def test_a_run_becomes_a_table(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    params = read_params(shop.params)
    sections = {"average": {"methods": [{"kind": "interpolation", "shares": [0.5]}]}, "evaluate": params["evaluate"]}
    write_scores(
        shop, shop.finetune, tmp_path / "run", sections=sections, in_domain="studio", out=tmp_path / "run-0.parquet"
    )
    rows = pq.read_table(tmp_path / "run-0.parquet").to_pylist()
    assert list(dict.fromkeys(row["candidate"] for row in rows)) == [
        "base-model", "step-000010", "step-000020", "step-000010-at-0.50", "step-000020-at-0.50",
    ]  # fmt: skip
    assert {row["dataset"]: row["in_domain"] for row in rows} == {"studio": True, "street": False}
    for row in rows:
        assert row["value"] == pytest.approx((row["half_0"] + row["half_1"]) / 2, abs=0.1)
        assert len(row["draws"]) == params["evaluate"]["settings"]["resamples"]


def test_a_random_image_tower_stands_beside_the_texts_of_a_start(tmp_path: Path, quick_towers: None) -> None:
    base_model = tmp_path / "base-model"
    base_model.mkdir()
    fclip_tiny.compose(base_model)
    for seed in (0, 1):
        write_random_image_tower(
            base_model, tmp_path / f"{seed}", image_tower="test_convnext", image_size=32, seed=seed
        )
    clips = [load(folder) for folder in (base_model, tmp_path / "0", tmp_path / "1")]
    texts = clips[0].tokenize(["a red dress"])
    told, own, other = (clip.model.encode_text(texts) for clip in clips)
    assert torch.equal(told, own)
    assert torch.equal(told, other)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    first, second = (clip.model.encode_image(images) for clip in clips[1:])
    assert first.shape == second.shape == (2, told.shape[1])
    assert not torch.allclose(first, second), "each seed has weights of its own"


@pytest.mark.slow
def test_the_page_shows_what_the_runs_give() -> None:
    page = (REPOSITORY / "docs" / "selection-study.md").read_text()
    for table in markdown():
        assert table in page
