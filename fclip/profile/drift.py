"""Drift: compare a catalog's profile with the profile of the champion's training catalog."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fclip.pages.wording import counted, percent
from fclip.profile.config import DriftConfig
from fclip.profile.profile import Profile, ValueCounts
from fclip.profile.stability import population_stability_index, psi_chance_bound

MAX_NAMED = 3  # values that a sentence names


@dataclass(frozen=True)
class FeatureDrift:
    """The drift of one feature of a dataset, relative to the champion's catalog.

    Attributes:
        psi: population stability index.
        by_chance: the bound of psi without any change (`fclip.profile.stability.psi_chance_bound`).
        new: (value, products) of values with at least `min_count` products now and none before, most frequent first.
        vanished: the same for values with products before and none now.
        new_fraction: share of the current products that have a new value.
        vanished_fraction: share of the earlier products that had a vanished value.
        faults: the exceeded thresholds, as clauses.
    """

    dataset: str
    name: str
    psi: float
    by_chance: float
    new: tuple[tuple[str, int], ...] = ()
    vanished: tuple[tuple[str, int], ...] = ()
    new_fraction: float = 0.0
    vanished_fraction: float = 0.0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drift:
    """The drift of the features of the training datasets, relative to `against`; `notes` name datasets in only one."""

    against: str
    features: tuple[FeatureDrift, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The exceeded thresholds of params.yaml, one sentence each."""
        return tuple(f"{f.dataset}: {f.name}: {fault}" for f in self.features for fault in f.faults)

    @property
    def summary(self) -> str:
        """A summary in one line."""
        if not self.features:
            return "; ".join(self.notes) or f"nothing to compare with {self.against}"
        drifted = [feature for feature in self.features if feature.faults]
        largest = max(self.features, key=lambda feature: feature.psi)
        if drifted:
            names = ", ".join(dict.fromkeys(f"{f.dataset} {f.name}" for f in drifted[:MAX_NAMED]))
            more = f" and {len(drifted) - MAX_NAMED} more" if len(drifted) > MAX_NAMED else ""
            text = (
                f"{len(drifted)} of {counted(len(self.features), 'feature')} drifted from {self.against}: {names}{more}"
            )
        else:
            text = f"none of {counted(len(self.features), 'feature')} drifted from {self.against}"
            text += f" (largest PSI {largest.psi:.3f}, {largest.dataset} {largest.name})"
        return "; ".join([text, *self.notes])


def compare_profiles(
    reference: Mapping[str, Profile], current: Mapping[str, Profile], config: DriftConfig, *, against: str
) -> Drift:
    """Compare the datasets of `current` with those of the same name in `reference`.

    Args:
        against: the name of the reference, for messages: "version 3 of fclip-sample".
    """
    features: list[FeatureDrift] = []
    notes = []
    for name, profile in current.items():
        if name in reference:
            features += _features(reference[name], profile, config)
        else:
            notes.append(f"{name} is not in the profile of {against}")
    notes += [f"{name} is only in the profile of {against}" for name in reference if name not in current]
    return Drift(against, tuple(features), tuple(notes))


def _features(reference: Profile, current: Profile, config: DriftConfig) -> Iterator[FeatureDrift]:
    for name in sorted({*reference.attributes, *current.attributes}):
        yield _attribute(name, reference, current, config)
    before, now = _bins(reference), _bins(current)
    for name in sorted({*before, *now}):
        # If one profile lacks the text, all its products count as missing.
        rows = [bins.get(name, (p.num_products,)) for bins, p in ((before, reference), (now, current))]
        width = max(len(row) for row in rows)
        psi, chance = _psi(*([*row[:-1], *[0] * (width - len(row)), row[-1]] for row in rows))
        yield FeatureDrift(current.dataset, name, psi, chance, faults=tuple(_psi_fault(psi, chance, config)))


def _bins(profile: Profile) -> dict[str, tuple[int, ...]]:
    """Return the bins of each feature: the counts of its histogram, then the number of products without it."""
    texts = {
        f"characters of {name}": (*text.characters.histogram.counts, text.num_missing)
        for name, text in profile.texts.items()
    }
    captions = {
        f"tokens of {kind}": (*captions_of_kind.tokens.histogram.counts, captions_of_kind.num_missing)
        for kind, captions_of_kind in profile.captions.items()
    }
    images = {
        f"image {name.replace('_', ' ')}": (*measured.histogram.counts, 0) for name, measured in profile.images.items()
    }
    return {**texts, **captions, **images}


def _attribute(name: str, reference: Profile, current: Profile, config: DriftConfig) -> FeatureDrift:
    """Return the drift of an attribute. Bins: each frequent value, all rare values, products without a value."""
    before = reference.attributes.get(name, ValueCounts(0, reference.num_products, 0, {}))
    now = current.attributes.get(name, ValueCounts(0, current.num_products, 0, {}))
    frequent = sorted(
        value
        for value in {*before.counts, *now.counts}
        if max(before.counts.get(value, 0), now.counts.get(value, 0)) >= config.min_count
    )
    rows = [
        [*(values.counts.get(value, 0) for value in frequent), _rest(values, frequent), values.num_missing]
        for values in (before, now)
    ]
    # A profile that does not list all its values may still contain a value that it does not list.
    new = _only_in_first(now, before, config.min_count) if not before.num_other else ()
    vanished = _only_in_first(before, now, config.min_count) if not now.num_other else ()
    new_fraction = _sum(new) / max(1, current.num_products)
    vanished_fraction = _sum(vanished) / max(1, reference.num_products)
    faults = []
    if new_fraction > config.max_new_fraction:
        faults.append(f"{percent(new_fraction)} of products have the new {_named_values(new)}")
    if vanished_fraction > config.max_vanished_fraction:
        faults.append(f"{percent(vanished_fraction)} of products had the vanished {_named_values(vanished)}")
    psi, chance = _psi(*rows)
    return FeatureDrift(
        dataset=current.dataset,
        name=name,
        psi=psi,
        by_chance=chance,
        new=new,
        vanished=vanished,
        new_fraction=new_fraction,
        vanished_fraction=vanished_fraction,
        faults=(*_psi_fault(psi, chance, config), *faults),
    )


def _rest(values: ValueCounts, frequent: Sequence[str]) -> int:
    return values.num_other + sum(values.counts.values()) - sum(values.counts.get(value, 0) for value in frequent)


def _only_in_first(first: ValueCounts, second: ValueCounts, min_count: int) -> tuple[tuple[str, int], ...]:
    values = first.most_frequent(len(first.counts))
    return tuple((value, count) for value, count in values if count >= min_count and value not in second.counts)


def _psi(before: Sequence[int], now: Sequence[int]) -> tuple[float, float]:
    num_bins = sum(1 for r, c in zip(before, now, strict=True) if r or c)
    return population_stability_index(before, now), psi_chance_bound(num_bins, sum(before), sum(now))


def _psi_fault(psi: float, chance: float, config: DriftConfig) -> Iterator[str]:
    if psi > max(config.psi_warn, chance):
        yield f"PSI {psi:.2f} is above {config.psi_warn:g}"


def _named_values(values: Sequence[tuple[str, int]]) -> str:
    names = ", ".join(f"{value!r} ({count:,})" for value, count in values[:MAX_NAMED])
    more = f" and {len(values) - MAX_NAMED} more" if len(values) > MAX_NAMED else ""
    return f"{'value' if len(values) == 1 else 'values'} {names}{more}"


def _sum(values: Sequence[tuple[str, int]]) -> int:
    return sum(count for _, count in values)
