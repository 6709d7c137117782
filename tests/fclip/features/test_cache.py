"""The feature cache: retrieval by key, damage and deletion."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fclip.features.cache import FeatureCache, FeatureKey

KEY = FeatureKey("image", "a" * 64, "preprocessing", "cpu-float32")


def features(*numbers: int) -> np.ndarray:
    return np.array([[number, number + 0.5, -number] for number in numbers], np.float32)


def test_added_features_are_returned_in_the_requested_order(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    table = cache.table(KEY)
    table.add(["a", "b"], features(1, 2))
    table.add(["c"], features(3))
    for found in (table, cache.table(KEY)):
        assert found.missing(["a", "b", "c"]) == []
        assert (found.get(["c", "a", "b", "a"]) == features(3, 1, 2, 1)).all()
        assert found.missing(["x", "a", "y", "x"]) == ["x", "y"]
        with pytest.raises(KeyError):
            found.get(["x"])


@pytest.mark.parametrize(
    "changed", [{"modality": "text"}, {"tower_sha256": "b" * 64}, {"preprocessing": "p"}, {"precision": "cuda-float32"}]
)
def test_tables_depend_on_every_field_of_the_key(tmp_path: Path, changed: dict[str, str]) -> None:
    cache = FeatureCache(tmp_path)
    cache.table(KEY).add(["a"], features(1))
    assert cache.table(replace(KEY, **changed)).missing(["a"]) == ["a"]  # type: ignore[arg-type]


def test_a_damaged_part_is_deleted_and_the_others_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path)
    table = cache.table(KEY)
    table.add(["a", "b"], features(1, 2))
    (damaged,) = tmp_path.rglob("part-*.parquet")
    table.add(["c"], features(3))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    found = cache.table(KEY)
    assert "which is damaged" in caplog.text
    assert found.missing(["a", "b", "c"]) == ["a", "b"]
    found.add(["a", "b"], features(1, 2))
    assert (cache.table(KEY).get(["a", "c"]) == features(1, 3)).all()


def test_the_cache_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache")
    table = cache.table(KEY)
    table.add(["a"], features(1))
    shutil.rmtree(tmp_path / "cache")
    assert (table.get(["a"]) == features(1)).all()
    table.add(["b"], features(2))
    assert cache.table(KEY).missing(["a", "b"]) == ["a"]
