"""Forgetting: what could the base model do that this model cannot?

Each product is classified, and found by its title, as it is in the catalog and as each derived copy. What the base
model got right and this model gets wrong is lost. A model that is as good but different loses some products and gains
as many others, so the gains are subtracted: separately for each kind of picture, so that what training gains on the
catalog's pictures does not hide what it loses on others.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fclip.audits.attributes import value
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.estimate import Means, at_least_zero, bootstrap_means, measure, per_hundred, snake_names, worst
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure
from fclip.audits.similarity import PROMPT, Embeddings, classify, ranks_of_own
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct, clusters_of
from fclip.evaluation.outcomes import Floats

MIN_RIGHT = 30
"""Smallest number of products that the base model gets right, of which a share can be lost."""
TOP = 10
ORIGINAL = "original"
PICTURES = {
    ORIGINAL: "the catalog's pictures",
    "scene": "products in scenes",
    "camera": "pictures by a poor camera",
}
SHOWN = 6
LOST_GROUP, EXAMPLES_GROUP = "Lost, less gained, of what the base model got right", "Categories that lost most"
GROSS_GROUP = "Lost, gains not subtracted"


@dataclass(frozen=True)
class Task:
    """What a model gets right or wrong of each product on one kind of picture.

    Attributes:
        rows: of the products. digests: their pictures. classes: texts of the categories; empty: search by title.
        labels: the category of each, as an index of `classes`.
    """

    name: str
    label: str
    rows: tuple[int, ...]
    digests: tuple[str, ...]
    titles: tuple[str, ...]
    classes: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class ForgettingPlan:
    """The inputs and the measurement. `categories`: the category of each product, or None."""

    products: tuple[CatalogProduct, ...]
    categories: tuple[str | None, ...]
    tasks: tuple[Task, ...]
    resampling: Resampling
    not_measured: tuple[str, ...]
    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        if base is None:
            reason = "What was forgotten: this is the base model, or none was given to compare with."
            summary = "There is no other base model to compare with, so forgetting cannot be measured."
            return Findings(None, (), summary, (reason, *self.not_measured))
        before, after = (self._right(Embeddings.of(self, features)) for features in (base, model))
        usable = [place for place in range(len(self.tasks)) if np.nansum(before[:, place]) >= MIN_RIGHT]
        few = tuple(
            f"Forgetting of {task.label}: the base model gets {int(np.nansum(before[:, place]))} products right, and "
            f"{MIN_RIGHT} are needed; audit more products (`audit.max_items`)."
            for place, task in enumerate(self.tasks)
            if place not in usable
        )
        if not usable:
            return Findings(None, (), "", (*self.not_measured, *few))
        before, after = before[:, usable], after[:, usable]
        unknown = np.isnan(before)
        lost, gained = (
            np.where(unknown, np.nan, first > second) for first, second in ((before, after), (after, before))
        )
        clusters = clusters_of([product.group_id for product in self.products])
        means = bootstrap_means(np.hstack([before, lost, gained]), clusters, self.resampling)
        tasks = [self.tasks[place] for place in usable]
        measures, examples = self._measures(means, tasks), self._examples(before, lost - gained)
        headline, largest = self._headline(means, len(tasks))
        summary = _summary(headline, tasks[largest], measures[len(tasks) + largest], examples)
        return Findings(headline, (*measures, *examples), summary, (*self.not_measured, *few))

    def _right(self, embeddings: Embeddings) -> Floats:
        """1 where the model is right, 0 where it is wrong, NaN where there is no picture, float64 [n, tasks]."""
        right = np.full((len(self.products), len(self.tasks)), np.nan)
        for column, task in enumerate(self.tasks):
            rows, images = list(task.rows), embeddings.of_images(task.digests)
            if task.classes:
                labels = np.array(task.labels, np.int64)
                right[rows, column] = classify(images, embeddings.of_texts(task.classes), labels)
            else:
                groups = np.unique([self.products[row].group_id for row in rows], return_inverse=True)[1]
                ranks = ranks_of_own(embeddings.of_texts(task.titles), images, groups.astype(np.int64))
                right[rows, column] = ranks <= TOP
        return right

    def _measures(self, means: Means, tasks: Sequence[Task]) -> list[Measure]:
        """The share of what the base model got right that is lost, less gained, of each task; then the same gross.

        A net gain counts as zero, as in the headline.
        """
        net: list[Measure] = []
        gross: list[Measure] = []
        for column, task in enumerate(tasks):
            value, draws = (_shares(own, len(tasks)) for own in (means.values[None], means.draws))
            number = round(means.values[column] * means.num_items[column])
            for own, kind, group, place in ((net, "net", LOST_GROUP, 0), (gross, "gross", GROSS_GROUP, 1)):
                name = f"{kind}_{task.name}"
                numbers = (float(value[place][0, column]), draws[place][:, column], number, self.resampling, group)
                own.append(at_least_zero(measure(name, task.label, *numbers)))
        return net + gross

    def _headline(self, means: Means, number: int) -> tuple[Measure, int]:
        """The largest net share, with an interval that holds for all tasks at once, and its task."""
        value, draws = _shares(means.values[None], number)[0], _shares(means.draws, number)[0]
        right = np.round(means.values[:number] * means.num_items[:number]).astype(np.int64)
        largest = worst(Means(value[0], draws, right, self.resampling), range(number))
        label = "lost, less gained, of what the base model got right"
        headline = Measure(*("forgotten", label, largest.value, largest.low, largest.high, int(right[largest.column])))
        return at_least_zero(headline), largest.column

    def _examples(self, before: Floats, net: Floats) -> list[Measure]:
        """The categories that lost most products net of gains, over all tasks, of those with enough right before."""
        clusters = clusters_of([product.group_id for product in self.products])
        right, lost = np.nansum(before, axis=1), np.nansum(net, axis=1)
        names = [name for name in dict.fromkeys(self.categories) if name is not None]
        inside = {name: np.array([own == name for own in self.categories]) for name in names}
        shares = {
            name: lost[own].sum() / right[own].sum()
            for name, own in inside.items()
            if right[own].sum() >= MIN_RIGHT and lost[own].sum() > 0
        }
        shown = sorted(shares, key=lambda name: -lost[inside[name]].sum())[:SHOWN]
        if not shown:
            return []
        parts = snake_names(sorted(names))
        columns = [np.where(inside[name], own, 0.0) for name in shown for own in (right, lost)]
        means = bootstrap_means(np.column_stack(columns), clusters, self.resampling)
        draws = means.draws[:, 1::2] / np.maximum(means.draws[:, 0::2], 1e-9)
        return [
            measure(
                *(f"category_{parts[name]}", name, float(shares[name]), draws[:, column]),
                *(int(right[inside[name]].sum()), self.resampling, EXAMPLES_GROUP),
            )
            for column, name in enumerate(shown)
        ]


def _shares(means: Floats, number: int) -> tuple[Floats, Floats]:
    """Return lost less gained, and lost, as shares of what was right before, float64 [r, number] each.

    Args:
        means: float64 [r, 3 · number], the means of right before, lost and gained.
    """
    before, lost, gained = np.split(means, 3, axis=1)
    right = np.maximum(before, 1e-9)
    return (lost - gained) / right, lost / right


def _summary(headline: Measure, task: Task, gross: Measure, examples: Sequence[Measure]) -> str:
    named = f" Most is lost among {', '.join(each.label for each in examples[:3])}." if examples else ""
    if headline.value == 0:
        return (
            "The model gains at least as much as it loses on every kind of picture. Where it loses most, "
            f"{task.label}, {per_hundred(gross.value)} products that the base model got right are now wrong, and at "
            f"least as many others are now right.{named}"
        )
    return (
        f"Of {task.label}, the model loses {per_hundred(gross.value)} that the base model got right; "
        f"{per_hundred(headline.value)} more than it gains.{named}"
    )


def plan(data: AuditData) -> ForgettingPlan | NotMeasurable:
    """Return the plan, or why there is none: the products have neither categories nor titles."""
    categories = tuple(value(product, data.attributes.category) for product in data.products)
    classes = tuple(sorted({name for name in categories if name is not None}))
    row_of = {product.product_id: row for row, product in enumerate(data.products)}
    pictures = {
        ORIGINAL: data.products,
        **{shift: data.derived.get(shift, ()) for shift in PICTURES if shift != ORIGINAL},
    }
    tasks: list[Task] = []
    reasons = [
        f"Forgetting of {PICTURES[shift]}: "
        + (
            "the derived dataset has no copy of these products; scenes need products on white or plain grounds."
            if shift in data.derived
            else f"there are none; add a derived dataset with `shift: {{kind: {shift}}}`."
        )
        for shift, copies in pictures.items()
        if not copies
    ]
    for shift, copies in pictures.items():
        own = [(row_of[copy.product_id], copy) for copy in copies if copy.product_id in row_of]
        if len(classes) > 1:
            tasks += _task("category", shift, [pair for pair in own if categories[pair[0]]], classes, categories)
        tasks += _task("title", shift, [pair for pair in own if pair[1].captions.get("title")], (), categories)
    if len(classes) < 2:
        reasons.append(
            "Forgetting of categories: the catalog has fewer than two; name the attribute `audit.attributes.category`."
        )
    if not any(product.captions.get("title") for product in data.products):
        reasons.append("Forgetting of titles: no product has one; add a template `title` in `caption.datasets`.")
    if not tasks:
        return NotMeasurable(" ".join(reasons))
    return ForgettingPlan(
        products=data.products,
        categories=categories,
        tasks=tuple(tasks),
        resampling=data.resampling,
        not_measured=tuple(reasons),
        images=tuple(dict.fromkeys(digest for task in tasks for digest in task.digests)),
        texts=tuple(dict.fromkeys(text for task in tasks for text in (*task.classes, *task.titles))),
    )


def _task(
    kind: str,
    shift: str,
    own: Sequence[tuple[int, CatalogProduct]],
    classes: Sequence[str],
    categories: Sequence[str | None],
) -> list[Task]:
    """The task on the copies of a shift with the rows of their products, or none if there are no copies."""
    if not own:
        return []
    what = f"{PICTURES[shift]}, " + ("by category" if classes else f"found by title in the first {TOP}")
    return [
        Task(
            name=f"{kind}_{shift}",
            label=what,
            rows=tuple(row for row, _ in own),
            digests=tuple(copy.image for _, copy in own),
            titles=() if classes else tuple(copy.captions["title"] for _, copy in own),
            classes=tuple(PROMPT.format(name) for name in classes),
            labels=tuple(classes.index(str(categories[row])) for row, _ in own) if classes else (),
        )
    ]


FORGETTING = Audit(
    kind="forgetting",
    label="forgetting",
    description="How much of what the base model got right this model gets wrong, beyond what it gained",
    question="Has the model lost something that it could do before it was trained on the catalog?",
    limit=0.2,
    plan=plan,
)
