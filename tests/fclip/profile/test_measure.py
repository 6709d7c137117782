"""The counts of a profile equal those of a loop over the rows, and a stored profile is read back."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.captions.table import SCHEMA as CAPTIONS
from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError
from fclip.files import sha256_json
from fclip.profile import histogram
from fclip.profile import measure as module
from fclip.profile.histogram import distribution
from fclip.profile.profile import FORMAT, Profile, profile_from_json
from tasks.workspace.paths import Workspace
from tests.fclip.profile.conftest import measured
from tests.tiny_shop import write_dataset


def test_counts_equal_those_of_a_loop(shop: Workspace, studio: Profile) -> None:
    rows = pq.read_table(shop.catalog("studio") / "products.parquet").to_pylist()
    colours = [dict(row["attributes"]).get("colour") for row in rows]
    assert (studio.num_rows, studio.num_products, studio.num_refused) == (69, 66, 3)
    assert studio.splits == {"train": 30, "val": 24, "denim": 12}
    assert list(studio.splits) == ["train", "val", "denim"]
    assert studio.attributes["colour"].counts == Counter(colour for colour in colours if colour)
    assert studio.attributes["colour"].num_missing == colours.count(None) > 0
    by_split = Counter((c, row["split"]) for c, row in zip(colours, rows, strict=True) if c)
    assert {(c, s): n for c, splits in studio.classes.items() for s, n in splits.items()} == by_split
    lengths = [len(dict(row["texts"])["title"]) for row in rows]
    title = studio.texts["title"]
    assert (title.num_missing, title.characters.num) == (0, 66)
    assert (title.characters.minimum, title.characters.maximum) == (min(lengths), max(lengths))
    assert title.characters.median == np.median(lengths)
    assert studio.images_per_product.histogram.counts[:2] == (52, 14)
    assert studio.num_images == studio.images["brightness"].num == 80
    assert studio.repaired == {"mojibake in title": 1}


def test_captions_are_counted_by_kind(shop: Workspace, studio: Profile) -> None:
    captions = [c for row in pq.read_table(shop.captions("studio")).to_pylist() for c in row["captions"]]
    titles = sum(caption["kind"] == "title" for caption in captions)
    assert studio.captions["title"].tokens.num == titles < 66
    assert studio.captions["title"].num_missing == 66 - titles
    assert studio.captions["short"].num_missing == studio.captions["short"].num_truncated == 0


def test_batch_size_does_not_change_the_profile(
    shop: Workspace, studio: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 7)
    assert measured(shop) == studio


def test_without_a_label_there_are_no_classes(shop: Workspace) -> None:
    assert measured(shop, label=None).classes == {}
    assert measured(shop, label="fabric").classes == {}


def test_rare_values_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VALUES", 2)
    workspace = Workspace(tmp_path)
    write_dataset(workspace, "studio", {"train": 30})
    colour = measured(workspace).attributes["colour"]
    assert colour.num_distinct == 4
    assert len(colour.counts) == 2
    assert sum(colour.counts.values()) + colour.num_other + colour.num_missing == 30
    assert min(colour.counts.values()) >= colour.num_other / 2


def test_groups_in_two_splits_are_counted(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_dataset(workspace, "studio", {"train": 6, "test": 4})
    assert measured(workspace).num_groups_across_splits == 0
    path = workspace.catalog("studio") / "products.parquet"
    rows = pq.read_table(path).to_pylist()
    for row, group in zip(rows, "aabbccdeee", strict=True):
        row["group_id"] = group
    rows[5]["group_id"] = "d"
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), path)
    profile = measured(workspace)
    assert profile.num_groups_across_splits == 1  # group d: the last product of train and one of test
    assert (profile.group_sizes.num, profile.group_sizes.maximum) == (5, 3)


def test_catalog_without_texts_attributes_or_captions_has_a_profile(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_dataset(workspace, "studio", {"train": 5})
    path = workspace.catalog("studio") / "products.parquet"
    rows = [{**row, "attributes": [], "texts": []} for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), path)
    bare = [{"product_id": row["product_id"], "split": "train", "captions": []} for row in rows]
    pq.write_table(pa.Table.from_pylist(bare, schema=CAPTIONS), workspace.captions("studio"))
    profile = measured(workspace)
    assert (profile.attributes, profile.texts, profile.captions, profile.classes) == ({}, {}, {}, {})


def test_dataset_without_captions_is_an_error(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    write_dataset(workspace, "studio", {"train": 5})
    workspace.captions("studio").unlink()
    with pytest.raises(UserError, match=r"studio\.parquet does not exist; run `fclip stage caption@studio`"):
        measured(workspace)


def test_stored_profile_is_read_back(shop: Workspace, studio: Profile) -> None:
    text = json.dumps(studio.to_json(), sort_keys=True, allow_nan=False)
    assert profile_from_json(json.loads(text)) == studio
    assert json.dumps(measured(shop).to_json(), sort_keys=True) == text


def test_other_format_is_an_error(studio: Profile) -> None:
    for value in ({**studio.to_json(), "format": FORMAT + 1}, {}, None, []):
        with pytest.raises(UserError, match=f"this code reads format {FORMAT}"):
            profile_from_json(value)
    with pytest.raises(UserError, match="damaged at num_rows"):
        profile_from_json({**studio.to_json(), "num_rows": "many"})


def test_changed_edges_need_another_format() -> None:
    """After a change of edges, stored histograms cannot be compared: raise FORMAT and update this digest."""
    edges = [value for name, value in sorted(vars(histogram).items()) if name.isupper()]
    assert (FORMAT, sha256_json(edges)[:8]) == (1, "c811aad9")


@given(st.lists(st.floats(-100, 1000, allow_nan=False, width=32), max_size=60))
def test_distribution_equals_the_naive_one(values: list[float]) -> None:
    edges = (0, 1, 2, 4, 8, 100)
    found = distribution(np.array(values), edges)
    naive = [0] * 5
    for value in values:
        inner = [i for i in range(5) if edges[i] <= value < edges[i + 1]]
        naive[inner[0] if inner else 0 if value < 0 else 4] += 1
    assert list(found.histogram.counts) == naive
    assert found.num == sum(naive)
    assert (found.median is None) == (not values)
