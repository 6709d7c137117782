"""Descriptions of published datasets: shipped ones are valid, any survives a round trip, faults are named by key."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fclip.catalog.descriptions import (
    DATASETS,
    Description,
    PublishedTask,
    known_datasets,
    load_description,
    parse_description,
)
from fclip.catalog.reading.records import mapped_columns
from fclip.catalog.sources.hub import HubSource
from fclip.catalog.sources.table import TableSource
from fclip.errors import UserError

MARQO = {
    "marqo-kagl": "Marqo/KAGL",
    "marqo-atlas": "Marqo/atlas",
    "marqo-fashion200k": "Marqo/fashion200k",
    "marqo-deepfashion-inshop": "Marqo/deepfashion-inshop",
    "marqo-deepfashion-multimodal": "Marqo/deepfashion-multimodal",
    "marqo-polyvore": "Marqo/polyvore",
    "marqo-imaterialist": "Marqo/iMaterialist",
}
GOOD: dict[str, Any] = yaml.safe_load((DATASETS / "marqo-polyvore.yaml").read_text(encoding="utf-8"))


def written(description: Description) -> str:
    """Return the YAML file of a description."""
    return yaml.safe_dump(asdict(description), sort_keys=False)


def test_marqo_datasets_and_kaggle_styles_are_described() -> None:
    hubs = {name: load_description(name).hub for name in known_datasets()}
    assert hubs == {**MARQO, "kaggle-styles": None}


@pytest.mark.parametrize("name", known_datasets())
def test_shipped_description_is_valid(name: str) -> None:
    description = load_description(name)
    source = description.source
    assert all(our_name.isidentifier() for our_name in [*source.texts, *source.attributes])
    assert set(description.label_sets) <= set(source.attributes)
    columns = set(mapped_columns(source))
    for task in description.tasks:
        assert {task.query, *task.documents} <= columns
        assert sum(task.documents.values()) == pytest.approx(1)
    assert description.facts
    assert description.home.startswith("https://")
    assert parse_description(written(description), where="file") == description


def test_tasks_equal_those_of_marqo() -> None:
    """From configs/*.json of marqo-FashionCLIP and the tables of its LEADERBOARD.md."""
    names = {name: [task.name for task in load_description(name).tasks] for name in MARQO}
    assert len(names["marqo-kagl"]) == 7
    assert sum("text-to-image" in tasks for tasks in names.values()) == 6
    assert sum("category-to-product" in tasks for tasks in names.values()) == 5
    assert sum("sub-category-to-product" in tasks for tasks in names.values()) == 4
    kagl = {task.name: task for task in load_description("marqo-kagl").tasks}
    assert kagl["color-to-product"] == PublishedTask(
        name="color-to-product", query="baseColour", documents={"image": 0.9, "text": 0.1}
    )


def test_parent_pattern_gives_the_product_of_a_photograph() -> None:
    """Ids from the ground truth of marqo-FashionCLIP."""
    ids = {
        "marqo-deepfashion-inshop": ("WOMEN_Sweaters_id_00004103_04_2_side", "id_00004103"),
        "marqo-deepfashion-multimodal": ("WOMEN-Graphic_Tees-id_00001687-02_2_side", "id_00001687"),
        "marqo-fashion200k": ("91112536_1", "91112536"),
    }
    for name, (item_id, parent) in ids.items():
        source = load_description(name).source
        assert source.parent_id == source.product_id == "item_ID"
        assert source.parent_pattern is not None
        found = re.search(source.parent_pattern, item_id)
        assert found is not None
        assert found[0] == parent


def test_new_file_adds_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({**GOOD, "title": "Mine"}), encoding="utf-8")
    assert known_datasets(tmp_path) == ["mine"]
    assert load_description("mine", tmp_path).title == "Mine"
    with pytest.raises(UserError, match=r"unknown published dataset `../mine`; choose one of mine"):
        load_description("../mine", tmp_path)


def changed(keys: str, value: Any) -> dict[str, Any]:
    """Return `GOOD` with another value at a dotted key."""
    result: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    *above, last = keys.split(".")
    place: Any = result
    for key in above:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    return result


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        ("mirror", "x", "mirror: unknown key"),
        ("source.colums", {}, "source.colums: unknown key"),
        ("source.kind", "folder", "source: `kind` must be one of hub, table"),
        ("source.kind", "sample", "source: `kind` must be one of hub, table"),
        ("source.files", ["../../etc/*"], r"source.files must stay in the dataset's folder, not `../../etc/\*`"),
        ("source.files", ["/etc/passwd"], "source.files must stay in the dataset's folder, not `/etc/passwd`"),
        ("source.files", ["data\\..\\x"], "source.files must stay"),
        ("source.files", [], "source.*: files must have at least one pattern"),
        ("source.files", 5, "source.files: "),
        ("source.path", "..", "source.path must stay in the dataset's folder"),
        ("source.path", "data", "source.path must be `.` where source.kind is hub"),
        ("source.product_id", None, "source.product_id: "),
        ("source.attributes", {"base colour": "c"}, "names that are identifiers .*not `base colour`"),
        ("source.parent_pattern", "(", "parent_pattern must be null if parent_id is"),
        ("tasks.1.query", "colour", r"tasks must name columns .*not `colour` \(of `category-to-product`\)"),
        ("tasks.0.documents", {"picture": 1.0}, r"not `picture` \(of `text-to-image`\)"),
        ("tasks.0.documents", {"image": -1.0}, r"tasks.0: documents must have weights above 0"),
        ("tasks.0.documents", {}, "tasks.0: documents must name at least one column"),
        ("tasks.1.name", "text-to-image", "tasks must have each name once"),
        ("label_sets", ["title"], r"label_sets must name attributes of source \(category\), not `title`"),
        ("num_rows", "many", "num_rows: "),
        ("facts", [], "facts must say where the description is from"),
    ],
)
def test_invalid_description_is_an_error_that_names_file_and_key(
    tmp_path: Path, keys: str, value: Any, message: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(changed(keys, value)), encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        load_description("bad", tmp_path)
    assert str(caught.value).startswith(f"{path}:\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe", "is not UTF-8"),
        (b"{", "is not valid YAML"),
        (b"- a\n", "must be a mapping, not list"),
        (b"", "must be a mapping, not NoneType"),
        (b"title: x\n", "hub: is missing"),
        (b"!!python/object/apply:os.getcwd []", "is not valid YAML"),
    ],
)
def test_invalid_file_is_an_error_that_names_the_file(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_description("bad", tmp_path)
    assert str(tmp_path / "bad.yaml") in str(caught.value)


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
our_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
places = words.filter(lambda name: not name.startswith("/") and not set(name) & set("\\\0") and ".." not in name)


@st.composite
def descriptions(draw: st.DrawFn) -> Description:
    texts = draw(st.dictionaries(our_names, words, max_size=3))
    attributes = {
        name: column
        for name, column in draw(st.dictionaries(our_names, words, max_size=4)).items()
        if name not in texts
    }
    columns: dict[str, Any] = {
        "product_id": draw(words),
        "image": draw(words),
        "texts": texts,
        "attributes": attributes,
        "parent_id": draw(st.none() | words),
    }
    if columns["parent_id"] is not None:
        columns["parent_pattern"] = draw(st.none() | words.map(re.escape))
    source: HubSource | TableSource
    if draw(st.booleans()):
        files = tuple(draw(st.lists(places, min_size=1, max_size=3)))
        source = HubSource(kind="hub", path=".", files=files, **columns)
    else:
        source = TableSource(
            kind="table",
            path=draw(places),
            image_folder=draw(places),
            image_suffix=draw(st.just("") | words),
            image_separator=draw(st.none() | words),
            **columns,
        )
    column = st.sampled_from(mapped_columns(source))
    weights = st.floats(1e-6, 1e6)
    task_names = draw(st.lists(words, unique=True, max_size=4))
    documents = st.dictionaries(column, weights, min_size=1, max_size=3)
    tasks = [PublishedTask(name=name, query=draw(column), documents=draw(documents)) for name in task_names]
    label_sets = draw(st.lists(st.sampled_from(sorted(attributes)), unique=True)) if attributes else []
    return Description(
        title=draw(words),
        home=draw(words),
        hub=draw(st.none() | words) if source.kind == "hub" else None,
        licence=draw(st.none() | words),
        num_rows=draw(st.integers(0)),
        source=source,
        label_sets=label_sets,
        tasks=tasks,
        facts=draw(st.lists(words, min_size=1, max_size=3)),
        unverified=draw(st.lists(words, max_size=3)),
    )


@settings(max_examples=50)
@given(descriptions())
def test_description_survives_a_round_trip(description: Description) -> None:
    assert parse_description(written(description), where="file") == description
