"""The real catalogs, when they are here: read as published, nothing lost, no group on both sides."""

from collections.abc import Callable

import pytest

from fclip.catalog.config import AnySource, DatasetConfig
from tasks.params import parse
from tests.conftest import real_dataset
from tests.fclip.catalog.catalog_shop import Built

LIMIT = 1500


def source_of(name: str) -> AnySource:
    return parse(name, real_dataset(name), DatasetConfig).source


@pytest.mark.parametrize("name", ["kagl", "clothing", "fmnist"])
def test_every_row_is_a_product_or_in_quarantine(name: str, build: Callable[..., Built]) -> None:
    built = build(source_of(name), limit=LIMIT)
    assert built.summary.num_rows == LIMIT == len(built.products) + len(built.refused)
    assert len(built.products) > 0.8 * LIMIT
    splits: dict[str, set[str]] = {}
    for product in built.products:
        splits.setdefault(product["group_id"], set()).add(product["split"])
    across = sum(len(found) > 1 for found in splits.values())
    assert across == built.summary.num_groups_across_splits
    assert across == 0 or name == "fmnist"


def test_kagl_has_its_attributes(build: Callable[..., Built]) -> None:
    built = build(source_of("kagl"), limit=LIMIT)
    attributes = [dict(product["attributes"]) for product in built.products]
    assert len({row["category3"] for row in attributes if "category3" in row}) > 60
    assert {row["gender"] for row in attributes if "gender" in row} >= {"Men", "Women"}
    assert all(dict(product["texts"])["title"] for product in built.products if product["texts"])


def test_clothing_keeps_senders_apart_and_refuses_what_is_no_class(build: Callable[..., Built]) -> None:
    built = build(source_of("clothing"), split={"val": 0.5, "test": 0.5}, limit=LIMIT)
    assert {row["reason"] for row in built.refused} == {"label is no class"}
    assert len({dict(product["attributes"])["label"] for product in built.products}) == 17
    assert all(product["group_id"].startswith("sender ") for product in built.products)


def test_fmnist_comes_split(build: Callable[..., Built]) -> None:
    built = build(source_of("fmnist"), limit=LIMIT)
    assert {product["split"] for product in built.products} == {"val", "test"}
    assert len({dict(product["attributes"])["label"] for product in built.products}) == 10
