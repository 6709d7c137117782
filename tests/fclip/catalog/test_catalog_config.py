"""The section `ingest`: valid values, and the error messages for invalid ones."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from fclip.catalog.config import DatasetConfig, IngestConfig

SAMPLE: dict[str, Any] = {"kind": "sample", "domain": "studio", "num_products": 10, "seed": 0}
SPLIT = {"train": 0.5, "val": 0.3, "test": 0.2}
ROLES = {"train": "train", "val": "select", "test": "report"}


def parsed(source: Any = SAMPLE, split: Any = SPLIT, roles: Any = ROLES, **more: Any) -> DatasetConfig:
    return TypeAdapter(DatasetConfig).validate_python({"source": source, "split": split, "roles": roles, **more})


def test_valid_dataset_is_parsed() -> None:
    config = parsed()
    assert config.source.kind == "sample"
    assert config.split == SPLIT


def test_default_fractions() -> None:
    assert parsed(split=None).fractions == {"train": 0.7, "val": 0.15, "test": 0.15}


def test_fmnist_has_fixed_splits() -> None:
    source = {"kind": "fmnist", "path": "x", "num_select": 5}
    assert parsed(source, None, {"val": "select", "test": "report"}).fractions == {}
    assert parsed(source, {}, {"val": "select", "test": "report"}).fractions == {}
    with pytest.raises(ValidationError, match="comes split into val, test"):
        parsed(source, {"val": 1.0}, {})
    with pytest.raises(ValidationError, match=r"\(val, test\), not `train`"):
        parsed(source, {}, {"train": "train"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"source": {**SAMPLE, "kind": "sampel"}},
            "`kind` must be one of clothing, fmnist, hub, published, sample, table",
        ),
        ({"source": {"path": "x"}}, "`kind` must be one of"),
        ({"source": None}, "`kind` must be one of"),
        ({"source": {**SAMPLE, "num_products": 0}}, "num_products must be at least 1"),
        ({"source": {**SAMPLE, "num_product": 1}}, "num_product"),
        ({"split": {"train": 0.5, "val": 0.4}}, r"sum to 1, not 0.9 \(train 0.5, val 0.4\)"),
        ({"split": {}}, "sum to 1, not 0"),
        ({"split": {"train": 1.0, "dev": 0.0}}, "not `dev`"),
        ({"split": {"train": 1.5, "val": -0.5}}, "above 0 and at most 1, not 1.5"),
        ({"split": {"train": float("nan"), "val": 0.5}}, "above 0"),
        ({"roles": {"train": "trian"}}, "must be among train, select, report, not `trian`"),
        ({"split": {"val": 1.0}, "roles": {"test": "report"}}, r"splits of this dataset \(val\), not `test`"),
        ({"roles": {"val": "train"}}, "`train` only to the split train, not to `val`"),
        ({"hold_outs": {"test": {"colour": ["red"]}}}, "other than train, val, test, not `test`"),
        ({"hold_outs": {"red": {"colour": []}}}, "one value of each; `red` does not"),
        ({"hold_outs": {"red": {"colour": ["red"]}}, "roles": {"rot": "report"}}, r"test, red\), not `rot`"),
        ({"types": {"price": "money"}}, "'number' or 'integer'"),
    ],
)
def test_invalid_dataset_is_an_error_that_names_the_fault(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parsed(**change)


def test_names_of_texts_and_attributes_are_checked() -> None:
    table = {"kind": "table", "path": "x", "image_folder": "y", "product_id": "id", "image": "image"}
    with pytest.raises(ValidationError, match="must not share a name: `a`"):
        parsed({**table, "texts": {"a": "x"}, "attributes": {"a": "y"}})
    with pytest.raises(ValidationError, match="not `base colour`"):
        parsed({**table, "texts": {}, "attributes": {"base colour": "y"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": 0}, "limit must be null or at least 1"),
        ({"limit": "many"}, "limit"),
        ({"datasets": {}}, "at least one dataset"),
        ({"datasets": {"../up": 0}}, r"names of a-z, 0-9, - and _ .* not `../up`"),
        ({"rows": {"max_refused_fraction": 1.1}}, "max_refused_fraction must be from 0 to 1"),
        ({"near_duplicates": {"max_hash_distance": 8}}, "from 0 to 7 bits, not 8"),
        ({"image": {"stored_side": 1}}, "stored_side must be"),
    ],
)
def test_invalid_section_is_an_error_that_names_the_fault(change: dict[str, Any], message: str) -> None:
    dataset = {"source": SAMPLE, "split": SPLIT, "roles": ROLES}
    settings = {name: value for name, value in change.items() if name != "datasets"}
    section: dict[str, Any] = {"settings": settings, "datasets": change.get("datasets", {"studio": dataset})}
    section["datasets"] = dict.fromkeys(section["datasets"], dataset)
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(IngestConfig).validate_python(section)
