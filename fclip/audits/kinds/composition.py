"""Composition: does the model understand which words belong together, and which belong to the picture?

Each product's picture is compared with a text that describes it ("red striped shirt") and with the same text with one
value replaced by that of another product ("blue striped shirt"). A control makes the same comparison with the mean of
all pictures in place of the product's: what the texts alone decide does not count as understanding. Two-garment texts
("red shirt, blue jeans") are compared with their swap ("blue shirt, red jeans") by a paraphrase, by their parts, and by
the mean of two pictures. Negation ("not striped") is measured and reported, but it is not part of the headline.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.attributes import value
from fclip.audits.composed_texts import MIN_HAVING, Negation, Pair, Swap, make_negations, make_pairs, make_swaps
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, at_least_zero, bootstrap_means, per_hundred, worst
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import Embeddings, preferred
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats
from fclip.features.similarity import FloatArray

MIN_ITEMS = 30
MIN_NEGATIONS = 10
"""Queries with a negation; the interval of fewer says little, and that of one has no width."""
MEANINGS = ("colour", "category", "pattern")
IMAGE_GROUP, CONTROL_GROUP = "The picture prefers its own text to the swap", "The same without the picture (control)"
PAIR_GROUP, NEGATION_GROUP = "Two garments: own text preferred to the swap", "Negation: products without it come first"


@dataclass(frozen=True)
class CompositionPlan:
    """The inputs and the measurement. `swaps`: meaning -> its swaps."""

    products: tuple[CatalogProduct, ...]
    swaps: Mapping[str, tuple[Swap, ...]]
    pairs: tuple[Pair, ...]
    negations: tuple[Negation, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        embeddings = Embeddings.of(self, model)
        images = embeddings.of_images([product.image for product in self.products])
        clusters = clusters_of([product.group_id for product in self.products])
        columns = [column for swaps in self.swaps.values() for column in self._swap_scores(swaps, embeddings, images)]
        means: Means = bootstrap_means(np.column_stack(columns), clusters, self.resampling)
        shortfall = Means(*(_shortfall(means.values), _shortfall(means.draws), means.num_items[0::2], self.resampling))
        largest = worst(shortfall, range(len(self.swaps)))
        label = f"short of perfect, beyond the text alone, with another {list(self.swaps)[largest.column]}"
        number = int(shortfall.num_items[largest.column])
        headline = at_least_zero(Measure("shortfall", label, largest.value, largest.low, largest.high, number))
        own = [
            means.measure(2 * place, f"{meaning}_swapped", f"another {meaning}", IMAGE_GROUP)
            for place, meaning in enumerate(self.swaps)
        ]
        control = [
            means.measure(2 * place + 1, f"{meaning}_control", f"another {meaning}", CONTROL_GROUP)
            for place, meaning in enumerate(self.swaps)
        ]
        measures = (*own, *control, *self._pairs(embeddings, images), *self._negation(embeddings, images))
        return Findings(headline, measures, _summary(list(self.swaps), own, measures), self.not_measured)

    def _swap_scores(self, swaps: Sequence[Swap], embeddings: Embeddings, images: FloatArray) -> tuple[Floats, Floats]:
        """Whether each product's picture, and the mean picture, prefers the own text, float64 [n] each."""
        rows = [swap.row for swap in swaps]
        own = embeddings.of_texts([swap.text for swap in swaps])
        other = embeddings.of_texts([swap.swapped for swap in swaps])
        finite = np.isfinite(images).all(axis=1)
        mean = images[finite].mean(axis=0) if finite.any() else np.full(images.shape[1], np.nan)
        seen, blind = np.full(len(images), np.nan), np.full(len(images), np.nan)
        seen[rows] = preferred((images[rows] * own).sum(axis=1), (images[rows] * other).sum(axis=1))
        blind[rows] = preferred(own @ mean, other @ mean)
        return seen, blind

    def _pairs(self, embeddings: Embeddings, images: FloatArray) -> Iterator[Measure]:
        if len(self.pairs) < MIN_ITEMS:
            return
        text, swapped, paraphrase = (
            embeddings.of_texts([getattr(pair, name) for pair in self.pairs])
            for name in ("text", "swapped", "paraphrase")
        )
        parts, swapped_parts = (
            sum(embeddings.of_texts([getattr(pair, name)[place] for pair in self.pairs]) for place in (0, 1))
            for name in ("parts", "swapped_parts")
        )
        pictures = sum(images[[pair.rows[place] for pair in self.pairs]] for place in (0, 1))
        scores = {
            "paraphrase": ("by a paraphrase", (paraphrase * text), (paraphrase * swapped)),
            "parts": ("by the two parts", (text * parts), (text * swapped_parts)),
            "pictures": ("by the mean of two pictures", (pictures * text), (pictures * swapped)),
        }
        values = [preferred(own.sum(axis=1), other.sum(axis=1)) for _, own, other in scores.values()]
        means = bootstrap_means(np.column_stack(values), None, self.resampling)
        for column, (name, (label, _, _)) in enumerate(scores.items()):
            yield means.measure(column, f"pair_{name}", label, PAIR_GROUP)

    def _negation(self, embeddings: Embeddings, images: FloatArray) -> Iterator[Measure]:
        """The share of pairs (product without, with the value) in the right order, by wording; a unit is a query."""
        if len(self.negations) < MIN_NEGATIONS:
            return
        values = np.array(
            [
                [
                    preferred(
                        (images[list(own.without)] @ text)[:, None], (images[list(own.having)] @ text)[None]
                    ).mean()
                    for text in embeddings.of_texts(own.texts)
                ]
                for own in self.negations
            ]
        )
        means = bootstrap_means(values, None, self.resampling)
        for column, (name, example) in enumerate(zip(("not", "without"), self.negations[0].texts, strict=True)):
            yield means.measure(column, f"negation_{name}", f"such as “{example}”", NEGATION_GROUP)


def plan(data: AuditData) -> CompositionPlan | NotMeasurable:
    """Return the plan, or why there is none: no attribute has two values to swap."""
    names = {meaning: getattr(data.attributes, meaning) for meaning in MEANINGS}
    values = {meaning: [value(product, name) for product in data.products] for meaning, name in names.items()}
    random = np.random.default_rng([data.resampling.seed, len(data.products)])
    swaps = {meaning: make_swaps(meaning, values, random) for meaning in MEANINGS}
    reasons = [_reason(meaning, names[meaning], values[meaning], len(swaps[meaning])) for meaning in MEANINGS]
    usable = {meaning: own for meaning, own in swaps.items() if len(own) >= MIN_ITEMS}
    if not usable:
        return NotMeasurable(" ".join(reason for reason in reasons if reason))
    pairs = make_pairs(values["colour"], values["category"], random)
    if len(pairs) < MIN_ITEMS:
        reasons.append(
            f"Two-garment texts: fewer than {MIN_ITEMS} pairs of products differ in colour and in category; both "
            "attributes are needed."
        )
        pairs = ()
    excluded = "pattern" if names["pattern"] else "colour"
    negations = make_negations(values[excluded], values["category"])
    if len(negations) < MIN_NEGATIONS:
        reasons.append(
            f"Negation: {len(negations)} queries exclude a {excluded} that {MIN_HAVING} products of a category have "
            f"and {MIN_HAVING} do not, and {MIN_NEGATIONS} are needed; audit more products (`audit.max_items`)."
        )
        negations = ()
    texts = [text for own in usable.values() for swap in own for text in (swap.text, swap.swapped)]
    texts += [text for pair in pairs for text in (pair.text, pair.swapped, pair.paraphrase, *pair.parts)]
    texts += [text for pair in pairs for text in pair.swapped_parts]
    texts += [text for own in negations for text in own.texts]
    return CompositionPlan(
        products=data.products,
        swaps=usable,
        pairs=pairs,
        negations=negations,
        resampling=data.resampling,
        not_measured=tuple(reason for reason in reasons if reason),
        images=tuple(dict.fromkeys(product.image for product in data.products)),
        texts=tuple(dict.fromkeys(texts)),
    )


def _reason(meaning: str, name: str | None, values: Sequence[str | None], number: int) -> str:
    if number >= MIN_ITEMS:
        return ""
    what = f"Texts with another {meaning}"
    if name is None:
        return f"{what}: the catalog has no {meaning}; add the attribute, or name it in `audit.attributes.{meaning}`."
    if len({own.casefold() for own in values if own is not None}) < 2:
        return f"{what}: all products have the same {meaning}, so there is nothing to swap."
    return f"{what}: {number} products have a {meaning}, and {MIN_ITEMS} are needed; fill `{name}` or add products."


def _shortfall(accuracies: Floats) -> Floats:
    """Return how much is missing to perfect, of what the text alone does not give: 0 perfect, 1 no better than blind.

    Args:
        accuracies: float64 [..., 2 · swaps], of each swap with the picture, then with the mean picture.
    """
    seen, blind = accuracies[..., 0::2], accuracies[..., 1::2]
    control = np.minimum(np.maximum(blind, 0.5), 0.99)
    return np.asarray(1 - (seen - control) / (1 - control))


def _summary(meanings: Sequence[str], own: Sequence[Measure], measures: Sequence[Measure]) -> str:
    told = ", ".join(
        f"another {meaning} in {per_hundred(each.value)}" for meaning, each in zip(meanings, own, strict=True)
    )
    sentences = [f"A picture prefers its own text to one with {told} cases (50 is chance)."]
    named = {each.name: each for each in measures}
    if "pair_pictures" in named:
        sentences.append(
            f"Two garments are told from the same with swapped colours in {per_hundred(named['pair_pictures'].value)}."
        )
    if "negation_not" in named:
        sentences.append(
            f"After “not”, products without the named value come first in {per_hundred(named['negation_not'].value)} "
            f"comparisons: {_followed(named['negation_not'])}."
        )
    return " ".join(sentences)


def _followed(negation: Measure) -> str:
    if negation.low > 0.5:
        return "the word is followed" if negation.value > 0.8 else "the word has a small effect"
    return "the word is ignored" if negation.high >= 0.5 else "naming the value brings it up"


COMPOSITION = Audit(
    kind="composition",
    label="composition of words",
    description="How often a picture prefers its own description to one with a swapped colour, category or pattern",
    question="Does the model tell a red striped shirt from a blue striped shirt, and from red striped socks?",
    limit=0.8,
    plan=plan,
)
