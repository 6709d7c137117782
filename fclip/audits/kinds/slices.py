"""Slices: does the model fail one brand, one category, one price band or the new arrivals?

Zero-shot recognition of the category is measured in every slice with enough products: by accuracy, or, where the slice
is a category, by F1. The headline is the largest drop of a slice against the base model on the same products. Among
many slices one always looks bad by chance, so its interval holds for all slices at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.attributes import price_of, value
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, Worst, at_least_zero, bootstrap_means, per_hundred, points, snake_names, worst
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import PROMPT, Embeddings, nearest
from fclip.evaluation.arrivals import new_arrivals
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats

MIN_SLICE = 30
SHOWN = 6
"""Number of slices that are shown: those with the lowest accuracy."""
WHOLE_GROUP, WORST_GROUP, SHOWN_GROUP = (
    "All products",
    "Worst slice",
    "Category recognised (of a category: F1), lowest slices",
)
DROP_GROUP = "Change against the base model, worst slices"
BANDS = ("low price", "middle price", "high price")


@dataclass(frozen=True)
class Slice:
    """Products with a common property.

    Attributes:
        name: such as "brand: Ostra". rows: of the products.
        category: the index of the category in the names of the classes, if the property is the category.
    """

    name: str
    rows: tuple[int, ...]
    category: int | None


@dataclass(frozen=True)
class SlicesPlan:
    """The inputs and the measurement. `labels`: the category of each product, as an index of `class_names`."""

    products: tuple[CatalogProduct, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    slices: tuple[Slice, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        means = self._scores(model)
        columns = range(1, 1 + len(self.slices))
        lowest = worst(_negative(means), columns)
        whole, weakest = float(means.values[0]), self.slices[lowest.column - 1]
        number = len(weakest.rows)
        measures = [
            means.measure(0, "all", "all products", WHOLE_GROUP),
            Measure("worst", weakest.name, *_as_shares(lowest), number, WORST_GROUP),
        ]
        order = sorted(columns, key=lambda column: means.values[column])[:SHOWN]
        measures += [self._measure(means, column, SHOWN_GROUP) for column in order]
        summary = (
            f"The category of {per_hundred(whole)} products is recognised; the worst of {len(self.slices)} slices is "
            f"“{weakest.name}” with a score of {per_hundred(-lowest.value)}."
        )
        if base is None:
            reason = "Whether a slice got worse: this is the base model, or none was given to compare with."
            return Findings(None, tuple(measures), summary, (*self.not_measured, reason))
        before = self._scores(base)
        drops = Means(before.values - means.values, before.draws - means.draws, means.num_items, self.resampling)
        largest = worst(drops, columns)
        order = sorted(columns, key=lambda column: -drops.values[column])[:SHOWN]
        measures += [self._measure(_negative(drops), column, DROP_GROUP) for column in order]
        return Findings(self._headline(largest), tuple(measures), f"{summary} {self._told(largest)}", self.not_measured)

    def _scores(self, features: PlanFeatures) -> Means:
        """The accuracy over all products, then the accuracy of each slice, or the F1 of a category.

        The accuracy of a category is no measure: a model that calls everything a t-shirt recognises all t-shirts.
        """
        embeddings = Embeddings.of(self, features)
        texts = embeddings.of_texts([PROMPT.format(name) for name in self.class_names])
        predicted = nearest(embeddings.of_images([product.image for product in self.products]), texts)
        labels = np.array(self.labels, np.int64)
        right = (predicted == labels).astype(np.float64)
        columns = [right]  # then three for each slice: the accuracy is column 1, F1 is 2 · column 1 / (column 2 + 3)
        for own in self.slices:
            inside = np.isin(np.arange(len(right)), own.rows)
            if own.category is None:
                columns += [np.where(inside, right, np.nan), np.ones_like(right), np.ones_like(right)]
            else:
                columns += [right * inside, (predicted == own.category).astype(np.float64), inside.astype(np.float64)]
        clusters = clusters_of([product.group_id for product in self.products])
        means = bootstrap_means(np.column_stack(columns), clusters, self.resampling)
        sizes = np.array([len(right), *(len(own.rows) for own in self.slices)], np.int64)
        return Means(_f1(means.values[None])[0], _f1(means.draws), sizes, self.resampling)

    def _measure(self, means: Means, column: int, group: str) -> Measure:
        name = self.slices[column - 1].name
        kind = "change" if group == DROP_GROUP else "slice"
        part = snake_names([own.name for own in self.slices])[name]
        return means.measure(column, f"{kind}_{part}", name, group)

    def _headline(self, largest: Worst) -> Measure:
        number = len(self.slices[largest.column - 1].rows)
        label = "largest drop of a slice against the base model"
        return at_least_zero(Measure("slice_drop", label, largest.value, largest.low, largest.high, number))

    def _told(self, largest: Worst) -> str:
        name = self.slices[largest.column - 1].name
        if largest.value <= 0:
            return "No slice is worse than with the base model."
        certain = "" if largest.low > 0 else ", which may be chance among so many slices"
        return f"Against the base model “{name}” loses most: {points(largest.value)}{certain}."


def plan(data: AuditData) -> SlicesPlan | NotMeasurable:
    """Return the plan, or why there is none: fewer than two categories, or no slice with enough products."""
    categories = [value(product, data.attributes.category) for product in data.products]
    classes = sorted({name for name in categories if name is not None})
    if len(classes) < 2:
        what = f"one category (“{classes[0]}”)" if classes else "no category"
        return NotMeasurable(
            f"The products have {what}, and recognition needs two; name an attribute with more values in "
            "`audit.attributes.category`."
        )
    known = [row for row, name in enumerate(categories) if name is not None]
    products = tuple(data.products[row] for row in known)
    slices: list[Slice] = []
    reasons: list[str] = []
    for what, attribute, values in _properties(data, products):
        found = [
            Slice(f"{what}: {each}", rows, classes.index(each) if what == "category" else None)
            for each, rows in _rows_by_value(values).items()
            if len(rows) >= MIN_SLICE
        ]
        slices += found
        if not found:
            why = f"no attribute for it; name it in `audit.attributes.{attribute}`"
            if getattr(data.attributes, attribute):
                why = f"none has {MIN_SLICE} products; audit more (`audit.max_items`)"
            reasons.append(f"Slices by {what}: {why}.")
    if not slices:
        return NotMeasurable(" ".join(reasons))
    return SlicesPlan(
        products=products,
        labels=tuple(classes.index(str(categories[row])) for row in known),
        class_names=tuple(classes),
        slices=tuple(slices),
        resampling=data.resampling,
        not_measured=tuple(reasons),
        images=tuple(dict.fromkeys(product.image for product in products)),
        texts=tuple(dict.fromkeys(PROMPT.format(name) for name in classes)),
    )


def _properties(data: AuditData, products: Sequence[CatalogProduct]) -> list[tuple[str, str, list[str | None]]]:
    """What products are sliced by: its name, the meaning of its attribute, and the value of each product."""
    names = data.attributes
    by_brand, by_category = (
        [value(product, attribute) for product in products] for attribute in (names.brand, names.category)
    )
    times = [value(product, names.date) for product in products]
    arrivals = [each if each == "new" else None for each in new_arrivals(times)]
    prices = [None if text is None else price_of(text) for text in (value(p, names.price) for p in products)]
    return [
        ("brand", "brand", by_brand),
        ("category", "category", by_category),
        ("price", "price", _bands(prices)),
        ("arrival", "date", arrivals),
    ]


def _bands(prices: Sequence[float | None]) -> list[str | None]:
    """The third of the prices that each is in; None for all if there are fewer than three different prices."""
    known = sorted(price for price in prices if price is not None)
    if len(set(known)) < 3:
        return [None] * len(prices)
    limits = np.quantile(known, [1 / 3, 2 / 3])
    return [None if price is None else BANDS[int(np.searchsorted(limits, price, side="left"))] for price in prices]


def _rows_by_value(values: Sequence[str | None]) -> Mapping[str, tuple[int, ...]]:
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(values):
        if each is not None:
            rows.setdefault(each, []).append(row)
    return {each: tuple(rows[each]) for each in sorted(rows)}


def _f1(means: Floats) -> Floats:
    """Return the accuracy of all, and 2 · first / (second + third) of the three columns of each slice."""
    first, second, third = means[:, 1::3], means[:, 2::3], means[:, 3::3]
    return np.column_stack([means[:, 0], 2 * first / np.maximum(second + third, 1e-9)])


def _as_shares(lowest: Worst) -> tuple[float, float, float]:
    """Return the value and the interval of the largest of negative shares as shares from 0 to 1."""
    return 0.0 - lowest.value, max(-lowest.high, 0.0), min(-lowest.low, 1.0)


def _negative(means: Means) -> Means:
    return Means(0.0 - means.values, 0.0 - means.draws, means.num_items, means.resampling)


SLICES = Audit(
    kind="slices",
    label="worst slice",
    description="How much the brand, category, price band or new arrivals that lost most lost against the base model",
    question="Does the model fail one brand, one category, one price band or the new arrivals?",
    limit=0.1,
    plan=plan,
)
