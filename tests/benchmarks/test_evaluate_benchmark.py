"""The benchmark's two sides find the same."""

from pathlib import Path

import pytest

from benchmarks.evaluate import __main__ as benchmark
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.protocols.attribute_search import AttributeSearchConfig
from tasks.evaluate import dataset_files
from tasks.workspace.params import load_section
from tests.tiny_shop import make_shop


def test_both_sides_score_the_same(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    config = load_section(shop, "evaluate.datasets.studio", DatasetEvaluation)
    search = AttributeSearchConfig(kind="attribute-search", query="colour", documents={"image": 1.0})
    config.protocols["colours"] = search
    files = dataset_files(shop, "studio")
    models = {"base-model": shop.finetune / "candidates" / "base-model"}
    ours = benchmark.evaluate_with_fclip(models, files, config, tmp_path / "cache")
    theirs = benchmark.evaluate_with_peers(models, files, config)
    assert (
        set(ours)
        == set(theirs)
        == {
            "classification.acc1",
            "retrieval.text_to_image.hit_at_10",
            "colours.precision_at_10",
        }
    )
    for metric, value in theirs.items():
        assert ours[metric] == pytest.approx(value, abs=1e-6), metric
