"""What drifts is said, what does not is not."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fclip.profile.config import DriftConfig
from fclip.profile.drift import Drift, Feature, compare
from fclip.profile.histogram import Histogram
from fclip.profile.profile import Profile, Values

CONFIG = DriftConfig(psi_warn=0.2, max_new_fraction=0.05, max_vanished_fraction=0.05, min_count=20)


def shop_of(studio: Profile, brands: Mapping[str, int], **changes: int) -> Profile:
    """A profile of as many products as `brands` has, with nothing else to it."""
    values = Values(len(brands), changes.get("num_missing", 0), changes.get("num_other", 0), dict(brands))
    num = sum(brands.values()) + values.num_missing + values.num_other
    return replace(studio, num_products=num, attributes={"brand": values}, texts={}, captions={}, images={})


def drift(before: Profile, now: Profile, config: DriftConfig = CONFIG) -> Drift:
    return compare({"studio": before}, {"studio": now}, config, against="version 3")


def only(found: Drift) -> Feature:
    (feature,) = found.features
    return feature


def test_the_same_catalog_does_not_drift(studio: Profile) -> None:
    found = drift(studio, studio)
    names = {feature.name for feature in found.features}
    assert {"colour", "characters of title", "tokens of short", "image brightness", "image white border"} <= names
    assert all(feature.psi == 0 for feature in found.features)
    assert found.warnings == ()
    assert f"none of {len(found.features)} features drifted from version 3" in found.summary


def test_values_that_come_and_go_are_named_and_counted(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500, "Birch": 400, "Cedar": 100, "Dune": 10})
    now = shop_of(studio, {"Acme": 500, "Birch": 400, "Elm": 90, "Fir": 30, "Gorse": 5})
    feature = only(drift(before, now))
    assert feature.new == (("Elm", 90), ("Fir", 30))  # Gorse is too rare
    assert feature.vanished == (("Cedar", 100),)
    assert feature.new_fraction == pytest.approx(120 / 1025)
    assert feature.vanished_fraction == pytest.approx(100 / 1010)
    said = drift(before, now).warnings
    assert any("11.7 % of products have values 'Elm' (90), 'Fir' (30), new since then" in line for line in said)
    assert any("9.9 % of products had a value 'Cedar' (100), which none has now" in line for line in said)
    assert "1 of 1 feature drifted from version 3: studio brand" in drift(before, now).summary


def test_thresholds_are_those_of_params(studio: Profile) -> None:
    before, now = shop_of(studio, {"Acme": 960, "Birch": 40}), shop_of(studio, {"Acme": 960, "Elm": 40})
    assert not any("new since" in line for line in drift(before, now).warnings)  # 4 %
    strict = replace(CONFIG, max_new_fraction=0.03, max_vanished_fraction=0.03, psi_warn=5.0)
    assert len(drift(before, now, strict).warnings) == 2
    shifted = shop_of(studio, {"Acme": 500, "Birch": 500})
    assert drift(shop_of(studio, {"Acme": 800, "Birch": 200}), shifted).warnings == (
        "studio: brand: PSI 0.41 is above 0.2",
    )
    assert drift(shop_of(studio, {"Acme": 800, "Birch": 200}), shifted, replace(CONFIG, psi_warn=0.5)).warnings == ()


def test_products_that_lose_their_value_count(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500, "Birch": 500})
    assert only(drift(before, shop_of(studio, {"Acme": 250, "Birch": 250}, num_missing=500))).faults
    lost = replace(before, attributes={})
    found = only(drift(before, lost))
    assert found.vanished_fraction == 1
    assert found.psi > 1


def test_many_rare_values_are_one_bin(studio: Profile) -> None:
    """Identifiers are all new each time, and say nothing."""
    before = shop_of(studio, {f"sku-{i}": 1 for i in range(3000)})
    now = shop_of(studio, {f"sku-{i}": 1 for i in range(3000, 6000)})
    feature = only(drift(before, now))
    assert (feature.psi, feature.new, feature.vanished, feature.faults) == (0, (), (), ())


def test_where_not_all_values_are_listed_none_is_called_new(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500}, num_other=500)
    now = shop_of(studio, {"Acme": 500, "Elm": 500})
    assert only(drift(before, now)).new == ()
    assert only(drift(now, before)).vanished == ()


def test_a_small_catalog_is_not_accused_of_chance(studio: Profile) -> None:
    brands = [f"brand-{i:02d}" for i in range(20)]
    before = shop_of(studio, {name: 3 + i % 3 for i, name in enumerate(brands)})
    now = shop_of(studio, {name: 3 + (i + 1) % 3 for i, name in enumerate(brands)})
    fine = replace(CONFIG, min_count=1, psi_warn=0.05)
    feature = only(drift(before, now, fine))
    assert 0.05 < feature.psi < feature.by_chance
    assert feature.faults == ()


def test_images_and_texts_drift(studio: Profile) -> None:
    dark = studio.images["brightness"]
    moved = Histogram(dark.histogram.edges, tuple(reversed(dark.histogram.counts)))
    now = replace(studio, images={**studio.images, "brightness": replace(dark, histogram=moved)})
    assert [line.partition(": PSI")[0] for line in drift(studio, now).warnings] == ["studio: image brightness"]
    without = replace(studio, texts={}, captions={"short": studio.captions["short"]})
    assert {line.partition(": PSI")[0] for line in drift(studio, without).warnings} == {
        "studio: characters of title",
        "studio: tokens of title",
    }


def test_datasets_that_come_and_go_are_noted(studio: Profile) -> None:
    found = compare({"old": studio}, {"new": studio}, CONFIG, against="version 3")
    assert found.features == ()
    assert found.summary == "new is not in the profile of version 3; old was in the profile of version 3 and is gone"


def test_params_out_of_range_are_refused() -> None:
    for key, value in (("psi_warn", 0.0), ("max_new_fraction", 1.5), ("max_vanished_fraction", -0.1), ("min_count", 0)):
        with pytest.raises(ValueError, match=f"{key} must be"):
            replace(CONFIG, **{key: value})
