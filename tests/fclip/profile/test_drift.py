"""Drift is reported if and only if features change."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fclip.profile.config import DriftConfig
from fclip.profile.drift import Drift, FeatureDrift, compare_profiles
from fclip.profile.histogram import Histogram
from fclip.profile.profile import Profile, ValueCounts

CONFIG = DriftConfig(psi_warn=0.2, max_new_fraction=0.05, max_vanished_fraction=0.05, min_count=20)


def shop_of(studio: Profile, brands: Mapping[str, int], **changes: int) -> Profile:
    """Return a profile whose products have only these brands."""
    values = ValueCounts(len(brands), changes.get("num_missing", 0), changes.get("num_other", 0), dict(brands))
    num = sum(brands.values()) + values.num_missing + values.num_other
    return replace(studio, num_products=num, attributes={"brand": values}, texts={}, captions={}, images={})


def drift(before: Profile, now: Profile, config: DriftConfig = CONFIG) -> Drift:
    return compare_profiles({"studio": before}, {"studio": now}, config, against="version 3")


def only(found: Drift) -> FeatureDrift:
    (feature,) = found.features
    return feature


def test_same_catalog_does_not_drift(studio: Profile) -> None:
    found = drift(studio, studio)
    names = {feature.name for feature in found.features}
    assert {"colour", "characters of title", "tokens of short", "image brightness", "image white border"} <= names
    assert all(feature.psi == 0 for feature in found.features)
    assert found.warnings == ()
    assert f"none of {len(found.features)} features drifted from version 3" in found.summary


def test_new_and_vanished_values_are_named_and_counted(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500, "Birch": 400, "Cedar": 100, "Dune": 10})
    now = shop_of(studio, {"Acme": 500, "Birch": 400, "Elm": 90, "Fir": 30, "Gorse": 5})
    feature = only(drift(before, now))
    assert feature.new == (("Elm", 90), ("Fir", 30))  # Gorse is too rare
    assert feature.vanished == (("Cedar", 100),)
    assert feature.new_fraction == pytest.approx(120 / 1025)
    assert feature.vanished_fraction == pytest.approx(100 / 1010)
    warnings = drift(before, now).warnings
    assert any("11.7 % of products have the new values 'Elm' (90), 'Fir' (30)" in line for line in warnings)
    assert any("9.9 % of products had the vanished value 'Cedar' (100)" in line for line in warnings)
    assert "1 of 1 feature drifted from version 3: studio brand" in drift(before, now).summary


def test_thresholds_come_from_params(studio: Profile) -> None:
    before, now = shop_of(studio, {"Acme": 960, "Birch": 40}), shop_of(studio, {"Acme": 960, "Elm": 40})
    assert not any("of products have the new" in line for line in drift(before, now).warnings)  # 4 %
    strict = replace(CONFIG, max_new_fraction=0.03, max_vanished_fraction=0.03, psi_warn=5.0)
    assert len(drift(before, now, strict).warnings) == 2
    shifted = shop_of(studio, {"Acme": 500, "Birch": 500})
    assert drift(shop_of(studio, {"Acme": 800, "Birch": 200}), shifted).warnings == (
        "studio: brand: PSI 0.41 is above 0.2",
    )
    assert drift(shop_of(studio, {"Acme": 800, "Birch": 200}), shifted, replace(CONFIG, psi_warn=0.5)).warnings == ()


def test_products_that_lose_their_value_are_drift(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500, "Birch": 500})
    assert only(drift(before, shop_of(studio, {"Acme": 250, "Birch": 250}, num_missing=500))).faults
    lost = replace(before, attributes={})
    found = only(drift(before, lost))
    assert found.vanished_fraction == 1
    assert found.psi > 1


def test_rare_values_are_one_bin(studio: Profile) -> None:
    """Identifiers are all new each time, which is not drift."""
    before = shop_of(studio, {f"sku-{i}": 1 for i in range(3000)})
    now = shop_of(studio, {f"sku-{i}": 1 for i in range(3000, 6000)})
    feature = only(drift(before, now))
    assert (feature.psi, feature.new, feature.vanished, feature.faults) == (0, (), (), ())


def test_incomplete_list_of_values_gives_no_new_values(studio: Profile) -> None:
    before = shop_of(studio, {"Acme": 500}, num_other=500)
    now = shop_of(studio, {"Acme": 500, "Elm": 500})
    assert only(drift(before, now)).new == ()
    assert only(drift(now, before)).vanished == ()


def test_chance_differences_of_a_small_catalog_are_not_drift(studio: Profile) -> None:
    brands = [f"brand-{i:02d}" for i in range(20)]
    before = shop_of(studio, {name: 3 + i % 3 for i, name in enumerate(brands)})
    now = shop_of(studio, {name: 3 + (i + 1) % 3 for i, name in enumerate(brands)})
    fine = replace(CONFIG, min_count=1, psi_warn=0.05)
    feature = only(drift(before, now, fine))
    assert 0.05 < feature.psi < feature.by_chance
    assert feature.faults == ()


def test_images_and_texts_can_drift(studio: Profile) -> None:
    dark = studio.images["brightness"]
    moved = Histogram(dark.histogram.edges, tuple(reversed(dark.histogram.counts)))
    now = replace(studio, images={**studio.images, "brightness": replace(dark, histogram=moved)})
    assert [line.partition(": PSI")[0] for line in drift(studio, now).warnings] == ["studio: image brightness"]
    without = replace(studio, texts={}, captions={"short": studio.captions["short"]})
    assert {line.partition(": PSI")[0] for line in drift(studio, without).warnings} == {
        "studio: characters of title",
        "studio: tokens of title",
    }


def test_added_and_removed_datasets_are_noted(studio: Profile) -> None:
    found = compare_profiles({"old": studio}, {"new": studio}, CONFIG, against="version 3")
    assert found.features == ()
    assert found.summary == "new is not in the profile of version 3; old is only in the profile of version 3"


def test_params_out_of_range_are_errors() -> None:
    for key, value in (("psi_warn", 0.0), ("max_new_fraction", 1.5), ("max_vanished_fraction", -0.1), ("min_count", 0)):
        with pytest.raises(ValueError, match=f"{key} must be"):
            replace(CONFIG, **{key: value})
