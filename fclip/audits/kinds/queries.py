"""Long and short queries: does the model use every word of a query, from one word to a whole description?

Each product is searched by five forms of query. A product's score is the share of the other products that it precedes:
of all products of other categories for the query that names the category alone, and of the products of *its category*
with other values (or another text) for queries that say more. So the category does not help, and a word that the model
ignores shows. Half is chance for every form and length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.attributes import value
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, at_least_zero, bootstrap_means, measure, per_hundred, worst
from fclip.audits.query_forms import FORMS, Form, query_forms
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import PROMPT, Embeddings, blocks, classify, preferred
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats, Ints
from fclip.features.similarity import FloatArray

MIN_QUERIES = 20
BINS = ((2, 2), (3, 4), (5, 8), (9, 16), (17, None))
"""Smallest and largest number of words of queries that say more than the category."""
PROMPTS = {
    "bare": ("the bare name", "{}"),
    "photo": ("“a photo of a …”", PROMPT),
    "long": (
        "a long prompt",
        "a product photo of a {} from an online shop, on a plain background, in all sizes",
    ),
}
FORM_GROUP, WORDS_GROUP = "Forms of query: share of products that come before the wrong ones", "Number of words"
TWO_GROUP, PROMPT_GROUP = "Two-word queries: first result", "Category recognised, by form of prompt"


@dataclass(frozen=True)
class QueriesPlan:
    """The inputs and the measurement. `categories`: the category of each product, or None."""

    products: tuple[CatalogProduct, ...]
    categories: tuple[str | None, ...]
    forms: tuple[Form, ...]
    class_names: tuple[str, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        embeddings = Embeddings.of(self, model)
        images = embeddings.of_images([product.image for product in self.products])
        clusters = clusters_of([product.group_id for product in self.products])
        groups = _numbers([product.group_id for product in self.products])
        categories = _numbers(self.categories)
        scores = np.column_stack([self._scores(form, embeddings, images, groups, categories) for form in self.forms])
        means = bootstrap_means(scores, clusters, self.resampling)
        usable = [column for column in range(len(self.forms)) if means.num_items[column] >= MIN_QUERIES]
        if not usable:
            return Findings(None, (), "No form of query could be measured.", self.not_measured)
        largest = worst(Means(1 - means.values, 1 - means.draws, means.num_items, self.resampling), usable)
        label = "wrong order of results, worst form of query"
        number = int(means.num_items[largest.column])
        headline = at_least_zero(Measure("worst_form", label, largest.value, largest.low, largest.high, number))
        by_form = [
            means.measure(column, self.forms[column].name, FORMS[self.forms[column].name], FORM_GROUP)
            for column in usable
        ]
        two_words = self._first_results(embeddings, images, clusters)
        measures = (
            *by_form,
            *self._by_words(scores, clusters),
            *two_words,
            *self._prompts(embeddings, images, clusters),
        )
        few = [self.forms[column].name for column in range(len(self.forms)) if column not in usable]
        sentences = [
            f"The form “{FORMS[name]}” has fewer than {MIN_QUERIES} queries with other products of the same "
            "category to compare; audit more products (`audit.max_items`)."
            for name in few
        ]
        return Findings(headline, measures, _summary(by_form, two_words), (*self.not_measured, *sentences))

    def _scores(self, form: Form, embeddings: Embeddings, images: FloatArray, groups: Ints, categories: Ints) -> Floats:
        """The share of the wrong products that each product precedes, float64 [n]; NaN if there is none."""
        rows = np.array([row for row, text in enumerate(form.texts) if text is not None], np.int64)
        scores = np.full(len(self.products), np.nan)
        keys, known = _numbers(form.keys), np.array([key is not None for key in form.keys])
        texts = embeddings.of_texts([text for text in form.texts if text is not None])
        for block in blocks(len(rows), len(images)):
            here = rows[block]
            similarity = texts[block] @ images.T
            wrong = (keys[here][:, None] != keys[None, :]) & (groups[here][:, None] != groups[None, :]) & known[None, :]
            if form.in_category:
                wrong &= categories[here][:, None] == categories[None, :]
            wins = preferred(similarity[np.arange(len(here)), here][:, None], similarity)
            number = wrong.sum(axis=1)
            share = (wins * wrong).sum(axis=1) / np.maximum(number, 1)
            scores[here] = np.where(number > 0, share, np.nan)
        return scores

    def _by_words(self, scores: Floats, clusters: Ints | None) -> list[Measure]:
        """The score by number of words, and the slope per doubling, of the forms that are compared in the category."""
        columns = [column for column, form in enumerate(self.forms) if form.in_category]
        if not columns:
            return []
        words = np.array(
            [[len((self.forms[c].texts[row] or "").split()) for c in columns] for row in range(len(scores))]
        )
        own = np.where(words > 0, scores[:, columns], np.nan)
        binned = []
        for low, high in BINS:
            inside = (words >= low) & (words <= (high or words.max()))
            number = (inside & ~np.isnan(own)).sum(axis=1)
            total = np.where(inside, np.nan_to_num(own), 0.0).sum(axis=1)
            binned.append(np.where(number > 0, total / np.maximum(number, 1), np.nan))
        means = bootstrap_means(np.column_stack(binned), clusters, self.resampling)
        measures = [
            means.measure(column, f"words_{low}", _bin_label(low, high), WORDS_GROUP)
            for column, (low, high) in enumerate(BINS)
            if means.num_items[column] >= MIN_QUERIES
        ]
        slope = _slope(own, words, clusters, self.resampling)
        return [*measures, slope] if slope is not None and len(measures) > 1 else measures

    def _first_results(self, embeddings: Embeddings, images: FloatArray, clusters: Ints | None) -> list[Measure]:
        """Whether the first result of a two-word query has both values, its colour, its category."""
        form = next((form for form in self.forms if form.name == "colour_category"), None)
        if form is None:
            return []
        pairs = [None if key is None else tuple(key.split("\0")) for key in form.keys]
        texts = list(dict.fromkeys(text for text in form.texts if text is not None))
        similarity = embeddings.of_texts(texts) @ images.T
        first = dict(zip(texts, np.where(np.isnan(similarity), -np.inf, similarity).argmax(axis=1), strict=True))
        broken = {text for text, row in zip(texts, similarity, strict=True) if np.isnan(row).all()}
        values = np.full((len(self.products), 3), np.nan)
        for row, text in enumerate(form.texts):
            if text is None:
                continue
            wanted, got = pairs[row], pairs[first[text]]
            assert wanted is not None
            right = (False, False) if got is None or text in broken else (wanted[0] == got[0], wanted[1] == got[1])
            values[row] = (all(right), *right)
        means = bootstrap_means(values, clusters, self.resampling)
        names = (
            ("first_right", "right product"),
            ("first_colour", "right colour"),
            ("first_category", "right category"),
        )
        return [means.measure(column, name, label, TWO_GROUP) for column, (name, label) in enumerate(names)]

    def _prompts(self, embeddings: Embeddings, images: FloatArray, clusters: Ints | None) -> list[Measure]:
        if len(self.class_names) < 2:
            return []
        number = {name: index for index, name in enumerate(self.class_names)}
        rows = [row for row, name in enumerate(self.categories) if name is not None]
        labels = np.array([number[name] for name in self.categories if name is not None], np.int64)
        values = np.full((len(self.products), len(PROMPTS)), np.nan)
        for column, (_, template) in enumerate(PROMPTS.values()):
            texts = embeddings.of_texts([template.format(name) for name in self.class_names])
            values[rows, column] = classify(images[rows], texts, labels)
        means = bootstrap_means(values, clusters, self.resampling)
        return [
            means.measure(column, f"prompt_{name}", label, PROMPT_GROUP)
            for column, (name, (label, _)) in enumerate(PROMPTS.items())
        ]


def plan(data: AuditData) -> QueriesPlan | NotMeasurable:
    """Return the plan, or why there is none: no query could be made of the products."""
    products, names = data.products, data.attributes
    categories = tuple(value(product, names.category) for product in products)
    classes = tuple(sorted({name for name in categories if name is not None}))
    reasons: list[str] = []
    forms = [form for form in query_forms(products, names, len(classes), reasons) if any(form.texts)]
    if not forms or len(products) < MIN_QUERIES:
        needed = f"at least {MIN_QUERIES} products with a title or a category; the split has {len(products)} products"
        return NotMeasurable(
            f"Queries need {needed}. Map a title or name `audit.attributes.category`, or add products."
        )
    prompts = (
        [template.format(name) for _, template in PROMPTS.values() for name in classes] if len(classes) > 1 else []
    )
    texts = [text for form in forms for text in form.texts if text is not None]
    return QueriesPlan(
        products=products,
        categories=categories,
        forms=tuple(forms),
        class_names=classes,
        resampling=data.resampling,
        not_measured=tuple(reasons),
        images=tuple(dict.fromkeys(product.image for product in products)),
        texts=tuple(dict.fromkeys([*texts, *prompts])),
    )


def _slope(scores: Floats, words: Ints, clusters: Ints | None, resampling: Resampling) -> Measure | None:
    """The least-squares change of the score per doubling of the number of words."""
    known = ~np.isnan(scores) & (words > 0)
    doublings = np.where(known, np.log2(np.maximum(words, 1)), 0.0)
    filled = np.where(known, scores, 0.0)
    if known.sum() < 2 * MIN_QUERIES or np.ptp(doublings[known]) == 0:
        return None
    sums = np.column_stack(
        [known.sum(1), doublings.sum(1), filled.sum(1), (doublings**2).sum(1), (doublings * filled).sum(1)]
    ).astype(np.float64)
    totals: Means = bootstrap_means(sums, clusters, resampling)

    def slope(means: Floats) -> Floats:
        number, x, y, xx, xy = means.T
        return np.asarray((number * xy - x * y) / np.maximum(number * xx - x * x, 1e-9))

    value = float(slope(totals.values[None])[0])
    label = "change per doubling of the number of words"
    return measure("slope", label, value, slope(totals.draws), int(known.sum()), resampling, "Slope")


def _numbers(values: Sequence[str | None]) -> Ints:
    return np.unique([each or "" for each in values], return_inverse=True)[1].astype(np.int64)


def _bin_label(low: int, high: int | None) -> str:
    return f"{low} words" if low == high else f"{low} to {high} words" if high else f"{low} words and more"


def _summary(forms: Sequence[Measure], two_words: Sequence[Measure]) -> str:
    weakest = min(forms, key=lambda each: each.value)
    sentences = [
        f"Weakest are queries of the form “{weakest.label}”: the right product comes before a wrong one in "
        f"{per_hundred(weakest.value)} comparisons (50 is chance)."
    ]
    if two_words:
        first, colour, category = two_words
        sentences.insert(
            0,
            f"Two-word queries find a right product first in {per_hundred(first.value)} cases; the first result has "
            f"the right colour in {round(100 * colour.value)} and the right category in {round(100 * category.value)}.",
        )
    return " ".join(sentences)


QUERIES = Audit(
    kind="queries",
    label="long and short queries",
    description="How well queries of one word, of two words, and as long as a description find their products",
    question="Does search work for short and for long queries, and does every word count?",
    limit=0.35,
    plan=plan,
)
