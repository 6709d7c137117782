"""The real catalogs, if available: every row is counted and no group is in two splits."""

from collections.abc import Callable

import numpy as np
import pytest

from fclip.catalog.config import DatasetConfig
from fclip.catalog.fingerprints import fingerprint, reduce_pixels
from fclip.catalog.sources.registry import SourceConfig
from fclip.catalog.splits import normalised_title
from fclip.images.packs import ImagePacks
from fclip.images.pixels import read_image
from tasks.workspace.params import parse
from tests.conftest import real_dataset
from tests.fclip.catalog.catalog_shop import Built

LIMIT = 1500


def source_of(name: str) -> SourceConfig:
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


def test_clothing_groups_by_sender_and_refuses_other_labels(build: Callable[..., Built]) -> None:
    built = build(source_of("clothing"), split={"val": 0.5, "test": 0.5}, limit=LIMIT)
    assert {row["reason"] for row in built.refused} == {"label is not a class"}
    assert len({dict(product["attributes"])["label"] for product in built.products}) == 17
    assert all(product["group_id"].startswith("sender ") for product in built.products)


def test_fmnist_has_fixed_splits(build: Callable[..., Built]) -> None:
    built = build(source_of("fmnist"), limit=LIMIT)
    assert {product["split"] for product in built.products} == {"val", "test"}
    assert len({dict(product["attributes"])["label"] for product in built.products}) == 10


@pytest.mark.slow
def test_no_picture_of_kagl_is_in_two_splits(build: Callable[..., Built]) -> None:
    """Compare all pictures of the packs across splits by the definition."""
    built = build(source_of("kagl"), split={"train": 0.8, "val": 0.1, "test": 0.1})
    assert built.summary.num_groups_across_splits == 0
    split_of = {image: row["split"] for row in built.products for image in row["images"]}
    assert all(split_of[image] == row["split"] for row in built.products for image in row["images"])
    by_text: dict[str, set[str]] = {}
    for row in built.products:
        by_text.setdefault(normalised_title(dict(row["texts"])) or row["product_id"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_text.values())

    digests, packs = sorted(split_of), ImagePacks([built.images])
    found = fingerprint([reduce_pixels(np.asarray(read_image(content))) for content in packs.read_many(digests)])
    split = np.array([split_of[digest] for digest in digests])
    pixels = found.thumbnail.reshape(len(digests), -1, 3).astype(np.float32)
    ink = np.abs(pixels - np.median(pixels, axis=1, keepdims=True)).mean((1, 2))
    num_near = 0
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        a, b = np.flatnonzero(split == one), np.flatnonzero(split == other)
        for begin in range(0, len(a), 512):
            part = a[begin : begin + 512]
            i, j = np.nonzero(np.bitwise_count(found.phash[part][:, None] ^ found.phash[b][None]) <= 6)
            difference = np.abs(pixels[part[i]] - pixels[b[j]]).mean((1, 2))
            # Slightly below the limit: decoding again may differ by rounding.
            assert not (difference <= 0.058 * np.maximum(1, np.minimum(ink[part[i]], ink[b[j]]))).any()
            num_near += len(i)
    assert num_near > 10_000  # by the hash alone, thousands would be near-duplicates
