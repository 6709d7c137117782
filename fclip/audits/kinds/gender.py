"""Gender: how far do "for men" or "for women" in a query move products that are for everyone?

The rank of a unisex product for a query of its category ("sneakers") is compared with its rank for the same query with
a gender word ("sneakers for women"), among the products of the category. Every added word moves ranks somewhat, so the
shift by a neutral addition ("nice sneakers", "sneakers for everyone") is subtracted. Two further measures: the spread
under small rewordings, and the association of gender words with categories and colours beyond the catalog's own shares.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fclip.audits.association import Association, associate
from fclip.audits.attributes import gender_of, value
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, at_least_zero, bootstrap_means
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import Embeddings, preferred
from fclip.captions.gender import gender_neutral
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats
from fclip.features.similarity import FloatArray

MIN_UNISEX, MIN_LABELLED = 20, 50
MIN_POOL = 5
"""Smallest number of products of a category among which a rank means something."""
WORDINGS = {
    "men": ("{} for men", "{} for a man", "men's {}", "male {}"),
    "women": ("{} for women", "{} for a woman", "women's {}", "female {}"),
    "boys": ("{} for boys", "{} for a boy", "boys' {}", "boy {}"),
    "girls": ("{} for girls", "{} for a girl", "girls' {}", "girl {}"),
}
"""Wordings of a query for a gender; the first is the audit's, the others its small rewordings."""
CONTROLS = ("nice {}", "{} for everyone")
ASSOCIATED = ("clothes {}", "a product {}", "something {}")
SHIFT_GROUP, TITLE_GROUP = "Shift of unisex products, queries of the category", "The same, queries of the title"
REWORDED_GROUP, ASSOCIATION_GROUP = "Spread under small rewordings", "Association beyond the catalog's own shares"
CHANCE_GROUP = "Probability of such an association by chance"
NO_ASSOCIATION = (
    "The association of gender words: no two categories or colours have enough products with a gender; label more "
    "products, or audit more (`audit.max_items`)."
)


@dataclass(frozen=True)
class GenderPlan:
    """The inputs and the measurement.

    Attributes:
        genders: what the label of each product means; None: unknown.
        asked: the genders that queries name.
        unisex: rows of the unisex products whose category has `MIN_POOL` products.
        titles: the title of each product without its gender words; None: it has none.
    """

    products: tuple[CatalogProduct, ...]
    categories: tuple[str | None, ...]
    colours: tuple[str | None, ...]
    genders: tuple[str | None, ...]
    asked: tuple[str, ...]
    unisex: tuple[int, ...]
    titles: tuple[str | None, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        embeddings = Embeddings.of(self, model)
        images = embeddings.of_images([product.image for product in self.products])
        score = gender_score(embeddings, images)
        clusters = clusters_of([product.group_id for product in self.products])
        associations = [
            associate(name, score, self.genders, values, clusters, self.resampling)
            for name, values in (("categories", self.categories), ("colours", self.colours))
        ]
        found = [each for each in associations if each is not None]
        measures = [each.effect(ASSOCIATION_GROUP) for each in found]
        measures += [each.chance(CHANCE_GROUP) for each in found]
        associated = " ".join(_association_summary(each) for each in found[:1])
        if self.unisex:
            headline, shifts = self._shifts(embeddings, images)
            return Findings(
                headline, (*shifts, *measures), f"{_summary(headline, shifts)} {associated}".strip(), self.not_measured
            )
        if not found:
            return Findings(None, (), "", (*self.not_measured, NO_ASSOCIATION))
        label = f"association of {found[0].name} with gender words"
        headline = at_least_zero(replace(found[0].effect(""), name=f"association_{found[0].name}", label=label))
        return Findings(headline, tuple(measures), associated, self.not_measured, has_limit=False)

    def _shifts(self, embeddings: Embeddings, images: FloatArray) -> tuple[Measure, list[Measure]]:
        queries = [_text(self.categories[row]) for row in self.unisex]
        wordings = [wording for gender in self.asked for wording in WORDINGS[gender]]
        moved = self._moved(embeddings, images, queries, (*wordings, *CONTROLS))  # [n, wordings]
        number = len(WORDINGS[self.asked[0]])
        by_gender = moved[:, : len(wordings)].reshape(len(moved), len(self.asked), number)
        first, control = np.abs(by_gender[:, :, 0]), np.abs(moved[:, len(wordings) :]).mean(axis=1)
        spread = (by_gender.max(axis=2) - by_gender.min(axis=2)).mean(axis=1)
        columns = [first.mean(axis=1) - control, *first.T, control, spread]
        titled = [place for place, row in enumerate(self.unisex) if self.titles[row]]
        if titled:
            own = [str(self.titles[self.unisex[place]]) for place in titled]
            asked = [WORDINGS[gender][0] for gender in self.asked]
            by_title = np.full((len(moved), len(asked) + len(CONTROLS)), np.nan)
            by_title[titled] = np.abs(self._moved(embeddings, images, own, (*asked, *CONTROLS), titled))
            columns += [by_title[:, : len(asked)].mean(axis=1), by_title[:, len(asked) :].mean(axis=1)]
        clusters = clusters_of([self.products[row].group_id for row in self.unisex])
        means: Means = bootstrap_means(np.column_stack(columns), clusters, self.resampling)
        headline = at_least_zero(
            means.measure(0, "shift_beyond_control", "shift of unisex products beyond the control")
        )
        measures = [
            means.measure(column, f"shift_{gender}", f"“for {gender}”", SHIFT_GROUP)
            for column, gender in enumerate(self.asked, 1)
        ]
        column = 1 + len(self.asked)
        measures.append(means.measure(column, "shift_control", "control: a neutral addition", SHIFT_GROUP))
        if titled:
            measures += [
                means.measure(column + 2, "title_shift", "a gender word", TITLE_GROUP),
                means.measure(column + 3, "title_control", "control: a neutral addition", TITLE_GROUP),
            ]
        measures.append(
            means.measure(column + 1, "rewordings", "“for men”, “for a man”, “men's”, “male”", REWORDED_GROUP)
        )
        return headline, measures

    def _moved(
        self,
        embeddings: Embeddings,
        images: FloatArray,
        queries: Sequence[str],
        wordings: Sequence[str],
        places: Sequence[int] | None = None,
    ) -> Floats:
        """How far each wording moves each unisex product in its category, in shares of the list, float64 [n, wordings].

        Where a feature is not finite: 1, the largest shift there is, and 0 for the neutral additions.
        """
        rows = [self.unisex[place] for place in (range(len(self.unisex)) if places is None else places)]
        pools = {name: np.flatnonzero([own == name for own in self.categories]) for name in set(self.categories)}
        members = [pools[self.categories[row]] for row in rows]
        own = [int(np.searchsorted(pool, row)) for pool, row in zip(members, rows, strict=True)]

        def percentiles(wording: str) -> Floats:
            texts = embeddings.of_texts([wording.format(query) for query in queries])
            return np.array(
                [_percentile(images[pool] @ text, place) for pool, text, place in zip(members, texts, own, strict=True)]
            )

        plain = percentiles("{}")
        moved = np.column_stack([percentiles(wording) - plain for wording in wordings])
        neutral = np.array([wording in CONTROLS for wording in wordings])
        return np.where(np.isnan(moved), np.where(neutral, 0.0, 1.0), moved)


def gender_score(embeddings: Embeddings, images: FloatArray) -> Floats:
    """How much nearer each image is to texts for women than to the same texts for men, float64 [n]."""
    women, men = (
        embeddings.of_texts([text.format(f"for {gender}") for text in ASSOCIATED]).mean(axis=0)
        for gender in ("women", "men")
    )
    return np.asarray(images @ (women - men), np.float64)


def plan(data: AuditData) -> GenderPlan | NotMeasurable:
    """Return the plan, or why there is none: the catalog has no genders."""
    names = data.attributes
    labels = [value(product, names.gender) for product in data.products]
    genders = tuple(None if label is None else gender_of(label) for label in labels)
    unknown = Counter(label for label, gender in zip(labels, genders, strict=True) if label and gender is None)
    known = sum(gender is not None for gender in genders)
    named = ", ".join(f"“{label}” ({number})" for label, number in unknown.most_common(5))
    if known < MIN_LABELLED:
        why = f"; not understood: {named}" if unknown else ""
        return NotMeasurable(
            f"{known} of {len(labels)} products have a gender that is understood, and {MIN_LABELLED} are needed{why}. "
            "Add an attribute with values such as men, women, boys, girls and unisex, or name it in "
            "`audit.attributes.gender`."
        )
    reasons: tuple[str, ...] = (
        f"Genders that were not understood and left out: {named}; write men, women, boys, girls or unisex.",
    )
    categories = tuple(value(product, names.category) for product in data.products)
    if names.category is None:
        categories = ("product",) * len(data.products)
        reasons += ("The catalog has no category, so ranks were compared among all products; name the attribute "
                    "`audit.attributes.category` if there is one.",)  # fmt: skip
    sizes = Counter(categories)
    unisex = [
        row
        for row, (gender, category) in enumerate(zip(genders, categories, strict=True))
        if gender == "unisex" and category is not None and sizes[category] >= MIN_POOL
    ]
    if len(unisex) < MIN_UNISEX:
        reasons += (
            f"The shift of unisex products: {len(unisex)} unisex products are in a category with at least {MIN_POOL} "
            f"products, and {MIN_UNISEX} are needed; the headline is the association of categories with gender words "
            "instead. Label products for everyone as unisex, or audit more products (`audit.max_items`).",
        )
        unisex = []
    asked = tuple(gender for gender in WORDINGS if gender in ("men", "women") or _sells(gender, genders))
    brands = [value(product, names.brand) or "" for product in data.products]
    titles = tuple(
        gender_neutral(product.captions.get("title", ""), brand).text or None
        for product, brand in zip(data.products, brands, strict=True)
    )
    queries = {_text(categories[row]) for row in unisex}
    own = {title for row in unisex if (title := titles[row])}
    wordings = [wording for gender in asked for wording in WORDINGS[gender]]
    texts = [wording.format(query) for query in sorted(queries) for wording in ("{}", *wordings, *CONTROLS)]
    firsts = [WORDINGS[gender][0] for gender in asked]
    texts += [wording.format(title) for title in sorted(own) for wording in ("{}", *firsts, *CONTROLS)]
    texts += [text.format(f"for {gender}") for text in ASSOCIATED for gender in ("women", "men")]
    return GenderPlan(
        products=data.products,
        categories=categories,
        colours=tuple(value(product, names.colour) for product in data.products),
        genders=genders,
        asked=asked,
        unisex=tuple(unisex),
        titles=titles,
        resampling=data.resampling,
        not_measured=reasons if unknown else reasons[1:],
        images=tuple(dict.fromkeys(product.image for product in data.products)),
        texts=tuple(dict.fromkeys(texts)),
    )


def _sells(gender: str, genders: Sequence[str | None]) -> bool:
    return gender in genders or "kids" in genders


def _text(category: str | None) -> str:
    assert category is not None
    return category


def _percentile(similarity: FloatArray, own: int) -> float:
    """The share of the other products that the product `own` precedes, half of its ties included; NaN if unknown."""
    if np.isnan(similarity[own]) or len(similarity) < 2:
        return float("nan")
    wins = preferred(similarity[own], similarity)
    return float((wins.sum() - wins[own]) / (len(similarity) - 1))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _association_summary(found: Association) -> str:
    return (
        f"The model puts {found.name} on average {_percent(max(found.effect_size, 0.0))} of the list away from where "
        "the gender labels of their products put them, when products are sorted from “for men” to “for women”."
    )


def _summary(headline: Measure, shifts: Sequence[Measure]) -> str:
    named = {measure.name: measure.value for measure in shifts}
    by_gender = {name.removeprefix("shift_"): shift for name, shift in named.items() if name.startswith("shift_")}
    control = by_gender.pop("control")
    largest = max(by_gender, key=lambda gender: by_gender[gender])
    return (
        f"“for {largest}” in a query moves a unisex product by {_percent(by_gender[largest])} of the list of its "
        f"category, a neutral addition by {_percent(control)}. Over all gender words the shift beyond the neutral one "
        f"is {_percent(headline.value)} (a random order would give about 33 %)."
    )


GENDER = Audit(
    kind="gender",
    label="gender words",
    description="How far a gender word in a query moves products that are for everyone, beyond a neutral word",
    question="Do words such as “for men” or “for women” hide products that are for everyone?",
    limit=0.08,
    plan=plan,
)
