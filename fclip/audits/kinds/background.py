"""Background and framing: does the model recognise the product itself, wherever it was photographed?

The same products are classified, and found by their titles, as they are in the catalog and as derived copies. The
`white` copy is the cut-out product pasted back on white, so original − white is what cutting and pasting costs. What
white − scene costs is then the background's. `camera` copies are not cut out: blur, noise, exposure and framing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fclip.audits.attributes import value
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, at_least_zero, bootstrap_means, measure, per_hundred
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import PROMPT, Embeddings, nearest, ranks_of_own
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats

MIN_PRODUCTS = 30
TOP = 10
ORIGINAL, WHITE, SCENE, CAMERA = "original", "white", "scene", "camera"
PICTURES = {
    ORIGINAL: "in the catalog's picture",
    WHITE: "cut out and put on white",
    SCENE: "in a scene",
    CAMERA: "in a picture by a poor camera",
}
REMEDIES = {
    WHITE: "add a derived dataset with `shift: {kind: scene, ground: white}`",
    SCENE: "add a derived dataset with `shift: {kind: scene}`",
    CAMERA: "add a derived dataset with `shift: {kind: camera}`",
}
DROPS = {
    (WHITE, SCENE): "by the background (white to scene)",
    (ORIGINAL, WHITE): "by cutting and pasting (catalog to white)",
    (ORIGINAL, SCENE): "by both (catalog to scene)",
    (ORIGINAL, CAMERA): "by camera and framing (catalog to camera)",
}
"""Pairs of pictures that are compared; the headline is of the first pair that is there, but for the second."""
HEADINGS = {"category": "Category recognised", "title": f"Found by its title in the first {TOP}"}
FEW = {
    "category": f"Recognition of the category: {{number}} products with copies have a category, and {MIN_PRODUCTS} are "
    "needed; fill the attribute, or add products.",
    "title": f"Search by title: {{number}} products with copies have a title, and {MIN_PRODUCTS} are needed; add "
    "titles, or add products.",
}


@dataclass(frozen=True)
class BackgroundPlan:
    """The inputs and the measurement.

    Attributes:
        products: the products with every copy. copies: shift -> digest of the picture of each product.
        categories: the category of each product, as an index of `class_names`; −1: none.
    """

    products: tuple[CatalogProduct, ...]
    copies: Mapping[str, tuple[str, ...]]
    categories: tuple[int, ...]
    class_names: tuple[str, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        embeddings = Embeddings.of(self, model)
        clusters = clusters_of([product.group_id for product in self.products])
        scores = {}
        if len(self.class_names) > 1:
            known = [label for label in self.categories if label >= 0]
            scores["category"] = (max(Counter(known).values()) / len(known), self._by_category(embeddings))
        if titled := sum(bool(product.captions.get("title")) for product in self.products):
            scores["title"] = (min(1.0, TOP / titled), self._by_title(embeddings))
        measures: list[Measure] = []
        results = []
        few: list[str] = []
        for name, (chance, by_shift) in scores.items():
            found = np.column_stack(list(by_shift.values()))
            means = bootstrap_means(np.hstack([np.maximum(found, 0), np.abs(found)]), clusters, self.resampling)
            if (number := int(means.num_items.max())) < MIN_PRODUCTS:
                few.append(FEW[name].format(number=number))
                continue
            results.append((name, means, chance))
            measures += self._measures(name, HEADINGS[name], means)
        if not results:
            return Findings(None, (), "", (*self.not_measured, *few))
        headline, summary, reasons = self._headline(*results[0])
        return Findings(headline, tuple(measures), summary, (*self.not_measured, *few, *reasons))

    def _by_category(self, embeddings: Embeddings) -> dict[str, Floats]:
        """1 where the category is recognised, 0 where not, −1 where a feature is not finite, NaN without a category."""
        texts = embeddings.of_texts([PROMPT.format(name) for name in self.class_names])
        labels = np.array(self.categories, np.int64)
        values = {}
        for shift, digests in self.copies.items():
            found = nearest(embeddings.of_images(digests), texts)
            right = np.where(found < 0, -1.0, found == labels)
            values[shift] = np.where(labels >= 0, right, np.nan)
        return values

    def _by_title(self, embeddings: Embeddings) -> dict[str, Floats]:
        """The same for whether a product is among the first for its title, among the pictures of the same kind."""
        titled = [row for row, product in enumerate(self.products) if product.captions.get("title")]
        groups = np.unique([self.products[row].group_id for row in titled], return_inverse=True)[1].astype(np.int64)
        texts = embeddings.of_texts([self.products[row].captions["title"] for row in titled])
        values = {}
        for shift, digests in self.copies.items():
            ranks = ranks_of_own(texts, embeddings.of_images([digests[row] for row in titled]), groups)
            values[shift] = np.full(len(self.products), np.nan)
            values[shift][titled] = np.where(ranks > len(titled), -1.0, ranks <= TOP)
        return values

    def _measures(self, name: str, heading: str, means: Means) -> list[Measure]:
        column = {shift: number for number, shift in enumerate(self.copies)}
        result = [
            means.measure(number, f"{name}_{shift}", PICTURES[shift], heading) for shift, number in column.items()
        ]
        for (before, after), label in DROPS.items():
            if before in column and after in column:
                drop = means.values[column[before]] - means.values[column[after]]
                draws = means.draws[:, column[before]] - means.draws[:, column[after]]
                number = int(means.num_items[column[after]])
                group = f"{heading}: drop"
                result.append(
                    measure(f"{name}_{before}_{after}", label, float(drop), draws, number, self.resampling, group)
                )
        return result

    def _headline(self, name: str, means: Means, chance: float) -> tuple[Measure | None, str, tuple[str, ...]]:
        """The share of the recognised products that is lost; a model that recognises none has nothing to lose.

        A product whose features are not finite counts as recognised and lost.

        Args:
            means: of the recognised products by shift, then of those that are recognised or not finite.
        """
        column = {shift: number for number, shift in enumerate(self.copies)}
        own = {shift: number + len(column) for shift, number in column.items()}  # with those that are not finite
        before, after = (WHITE if WHITE in column else ORIGINAL, SCENE) if SCENE in column else (ORIGINAL, CAMERA)

        def knows(shift: str) -> bool:
            return bool(np.quantile(means.draws[:, own[shift]], (1 - self.resampling.confidence) / 2) > chance)

        reasons: tuple[str, ...] = ()
        if not knows(before) and knows(ORIGINAL):
            reasons = (
                "The background could not be told from the paste: the model recognises the catalog's pictures, but not "
                "the same products on white, so it depends on more than the product; the headline compares the "
                "catalog's pictures with scenes.",
            )
            before = ORIGINAL
        what = "recognised by category" if name == "category" else f"found by their title in the first {TOP}"
        shares = {shift: per_hundred(means.values[number]) for shift, number in column.items()}
        told = ", ".join(f"{share} {PICTURES[shift]}" for shift, share in shares.items())
        summary = f"Products are {what}: {told}."
        if not knows(before):
            reason = (
                f"What the background costs: the model is not better than chance ({100 * chance:.0f} %) on products "
                f"{PICTURES[before]}, so there is nothing to lose; train longer, or choose another base model."
            )
            return None, summary, (reason,)
        lost = 1 - means.values[column[after]] / means.values[own[before]]
        draws = 1 - means.draws[:, column[after]] / np.maximum(means.draws[:, own[before]], 1e-9)
        number = int(means.num_items[column[after]])
        label = f"lost {DROPS[before, after]}"
        headline = at_least_zero(
            measure(f"lost_{name}_{before}_{after}", label, float(lost), draws, number, self.resampling)
        )
        cause = {SCENE: "a scene", CAMERA: "a poor camera"}[after]
        summary += f" Of those {PICTURES[before]}, {cause} loses {per_hundred(headline.value)}."
        if means.values[own[before]] > means.values[column[before]]:
            summary += " Products whose features are not finite count as lost."
        return headline, summary, reasons


def plan(data: AuditData) -> BackgroundPlan | NotMeasurable:
    """Return the plan, or why there is none: the products have no copies in scenes and none by a poor camera."""
    copies = {
        shift: {product.product_id: product.image for product in data.derived.get(shift, ())} for shift in REMEDIES
    }
    usable = [shift for shift, own in copies.items() if len(own) >= MIN_PRODUCTS]
    products = tuple(
        product for product in data.products if all(product.product_id in copies[shift] for shift in usable)
    )
    reasons = tuple(
        f"Pictures {PICTURES[shift]}: {len(copies[shift])} of {len(data.products)} products have such a copy, and "
        f"{MIN_PRODUCTS} are needed; {'add products' if shift in data.derived else REMEDIES[shift]}"
        + ("." if shift == CAMERA else "; only products on white or plain grounds can be cut out.")
        for shift in REMEDIES
        if shift not in usable
    )
    if not {SCENE, CAMERA} & set(usable) or len(products) < MIN_PRODUCTS:
        return NotMeasurable(
            " ".join(reasons)
            or f"Only {len(products)} products have all copies ({', '.join(usable)}), and {MIN_PRODUCTS} are needed; "
            "add products."
        )
    if len(products) < len(data.products):
        left_out = len(data.products) - len(products)
        reasons += (
            f"{left_out} of {len(data.products)} products were left out, since they have no copy of each kind: "
            "they have no plain ground, or the evaluation does not take them (`max_items`).",
        )
    categories = [value(product, data.attributes.category) for product in products]
    classes = tuple(sorted({name for name in categories if name is not None}))
    if len(classes) < 2:
        reasons += (
            "Recognition of the category: the catalog has fewer than two categories; titles were used instead. Name "
            "the attribute `audit.attributes.category` if there is one.",
        )
    titles = [title for product in products if (title := product.captions.get("title"))]
    if not titles:
        reasons += ("Search by title: no product has a title; add a template `title` in `caption.datasets`.",)
        if len(classes) < 2:
            return NotMeasurable(" ".join(reasons))
    pictures = {ORIGINAL: tuple(product.image for product in products)}
    pictures |= {shift: tuple(copies[shift][product.product_id] for product in products) for shift in usable}
    prompts = [PROMPT.format(name) for name in classes]
    return BackgroundPlan(
        products=products,
        copies=pictures,
        categories=tuple(-1 if name is None else classes.index(name) for name in categories),
        class_names=classes,
        resampling=data.resampling,
        not_measured=reasons,
        images=tuple(dict.fromkeys(digest for digests in pictures.values() for digest in digests)),
        texts=tuple(dict.fromkeys([*prompts, *titles])),
    )


BACKGROUND = Audit(
    kind="background",
    label="background and framing",
    description="How many products are still recognised in a scene, or in a picture by a poor camera",
    question="Does the model recognise a product in pictures other than the catalog's own?",
    limit=0.6,
    plan=plan,
)
