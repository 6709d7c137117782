"""Drift: a catalog's profile against that of the catalog which the champion was trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fclip.pages.wording import percent, things
from fclip.profile.config import DriftConfig
from fclip.profile.profile import Profile, ValueCounts
from fclip.profile.stability import by_chance, population_stability_index

NAMED = 3  # values that a sentence names


@dataclass(frozen=True)
class Feature:
    """One feature of a dataset, now and with the champion.

    psi: population stability index. by_chance: what it would stay below without any change. new, vanished: values with
    at least `min_count` products now that had none then, and the other way round, the most frequent first; fractions
    are of the products of the side that has them. faults: what is past a threshold, in sentences without an end.
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
    """Every feature of the datasets that train, against `against`; `notes` say what could not be compared, and why."""

    against: str
    features: tuple[Feature, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is past a threshold of params.yaml, a sentence each."""
        return tuple(f"{f.dataset}: {f.name}: {fault}" for f in self.features for fault in f.faults)

    @property
    def summary(self) -> str:
        """All of it in a line."""
        if not self.features:
            return "; ".join(self.notes) or f"nothing to compare with {self.against}"
        drifted = [feature for feature in self.features if feature.faults]
        largest = max(self.features, key=lambda feature: feature.psi)
        if drifted:
            names = ", ".join(dict.fromkeys(f"{f.dataset} {f.name}" for f in drifted[:NAMED]))
            more = f" and {len(drifted) - NAMED} more" if len(drifted) > NAMED else ""
            said = (
                f"{len(drifted)} of {things(len(self.features), 'feature')} drifted from {self.against}: {names}{more}"
            )
        else:
            said = f"none of {things(len(self.features), 'feature')} drifted from {self.against}"
            said += f" (largest PSI {largest.psi:.3f}, {largest.dataset} {largest.name})"
        return "; ".join([said, *self.notes])


def compare(
    reference: Mapping[str, Profile], current: Mapping[str, Profile], config: DriftConfig, *, against: str
) -> Drift:
    """Compare the datasets of `current` with those of the same name in `reference`.

    Args:
        against: what `reference` is of, for people: "version 3 of fclip-sample".
    """
    features: list[Feature] = []
    notes = []
    for name, profile in current.items():
        if name in reference:
            features += _features(reference[name], profile, config)
        else:
            notes.append(f"{name} is not in the profile of {against}")
    notes += [f"{name} was in the profile of {against} and is gone" for name in reference if name not in current]
    return Drift(against, tuple(features), tuple(notes))


def _features(reference: Profile, current: Profile, config: DriftConfig) -> Iterator[Feature]:
    for name in sorted({*reference.attributes, *current.attributes}):
        yield _attribute(name, reference, current, config)
    before, now = _bins(reference), _bins(current)
    for name in sorted({*before, *now}):
        # Where one side has no such text at all, every product of it lacks it.
        rows = [bins.get(name, (p.num_products,)) for bins, p in ((before, reference), (now, current))]
        width = max(len(row) for row in rows)
        psi, chance = _psi(*([*row[:-1], *[0] * (width - len(row)), row[-1]] for row in rows))
        yield Feature(current.dataset, name, psi, chance, faults=tuple(_psi_fault(psi, chance, config)))


def _bins(profile: Profile) -> dict[str, tuple[int, ...]]:
    """Counts by what is measured: between its edges, and of products that lack it."""
    texts = {
        f"characters of {name}": (*text.characters.histogram.counts, text.num_missing)
        for name, text in profile.texts.items()
    }
    captions = {
        f"tokens of {kind}": (*own.tokens.histogram.counts, own.num_missing) for kind, own in profile.captions.items()
    }
    images = {f"image {name.replace('_', ' ')}": (*found.histogram.counts, 0) for name, found in profile.images.items()}
    return {**texts, **captions, **images}


def _attribute(name: str, reference: Profile, current: Profile, config: DriftConfig) -> Feature:
    """An attribute's values as bins: one each, one for all that are rare, one for products without a value."""
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
    # Where a profile lists not all values, one that it does not list may still have been there.
    new = _absent(now, before, config.min_count) if not before.num_other else ()
    vanished = _absent(before, now, config.min_count) if not now.num_other else ()
    new_fraction = _sum(new) / max(1, current.num_products)
    vanished_fraction = _sum(vanished) / max(1, reference.num_products)
    faults = []
    if new_fraction > config.max_new_fraction:
        faults.append(f"{percent(new_fraction)} of products have {_values_said(new)}, new since then")
    if vanished_fraction > config.max_vanished_fraction:
        faults.append(f"{percent(vanished_fraction)} of products had {_values_said(vanished)}, which none has now")
    psi, chance = _psi(*rows)
    return Feature(
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


def _absent(here: ValueCounts, there: ValueCounts, min_count: int) -> tuple[tuple[str, int], ...]:
    found = here.most_frequent(len(here.counts))
    return tuple((value, count) for value, count in found if count >= min_count and value not in there.counts)


def _psi(before: Sequence[int], now: Sequence[int]) -> tuple[float, float]:
    num_bins = sum(1 for r, c in zip(before, now, strict=True) if r or c)
    return population_stability_index(before, now), by_chance(num_bins, sum(before), sum(now))


def _psi_fault(psi: float, chance: float, config: DriftConfig) -> Iterator[str]:
    if psi > max(config.psi_warn, chance):
        yield f"PSI {psi:.2f} is above {config.psi_warn:g}"


def _values_said(values: Sequence[tuple[str, int]]) -> str:
    told = ", ".join(f"{value!r} ({count:,})" for value, count in values[:NAMED])
    more = f" and {len(values) - NAMED} more" if len(values) > NAMED else ""
    return f"{'a value' if len(values) == 1 else 'values'} {told}{more}"


def _sum(values: Sequence[tuple[str, int]]) -> int:
    return sum(count for _, count in values)
