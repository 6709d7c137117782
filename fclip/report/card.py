"""The model card: README.md of a model's package, with the metadata that the Hugging Face hub reads.

It is generated from `CardFacts` and says nothing else about a model. Front matter: huggingface.co/docs/hub/model-cards.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fclip.audits.registry import audits
from fclip.audits.result import AuditResult
from fclip.evaluation.protocols.registry import metric_label, protocols
from fclip.models.candidates import BASE_MODEL
from fclip.pages.wording import percent
from fclip.registry import tags
from fclip.registry.decisions import decisions
from fclip.registry.versions import Version
from fclip.report.card_facts import CardFacts, DatasetFacts
from fclip.report.description import rule_choices, selection_in_words
from fclip.report.inputs import MetricResult, ReportedValue
from fclip.report.markdown import Markdown, escape, one_line, table
from fclip.shifts.counts import MIN_PRODUCTS

TASKS = {"zero-shot": "zero-shot-image-classification", "linear-probe": "image-classification"}
"""The hub's names of what a protocol measures; the others have none, and keep the protocol's kind."""
HEADLINE_DIGITS = 6
LINEAGE = {
    tags.WORKSPACE: "workspace",
    tags.CANDIDATE: "candidate",
    tags.BASE_MODEL_SHA256: "base model, digest",
    tags.GIT_COMMIT: "git commit",
    tags.GIT_DIRTY: "uncommitted changes",
    tags.CLOSING_COMMIT: "commit with all pins and digests",
    tags.DVC_LOCK_SHA256: "dvc.lock up to the selection, digest",
}


def model_card(facts: CardFacts, version: Version | None = None) -> str:
    """Return the model card in Markdown with YAML front matter.

    Args:
        version: the registered version, if the card is written after its registration.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        finalize=escape,  # every value, unless it is `Markdown`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "capitalize_first": lambda text: text[:1].upper() + text[1:]}
    results = sorted(facts.results, key=_order)
    return environment.get_template("card.md.j2").render(
        facts=facts,
        front_matter=front_matter(facts),
        datasets=_datasets(facts.datasets),
        min_products=MIN_PRODUCTS,
        result_tables=_result_tables(facts, results),
        measured=_measured(results),
        not_measured=[
            declaration for kind, declaration in protocols().items() if kind not in {row.kind for row in results}
        ],
        audits=[_audit(result) for result in facts.audits],
        selection=selection_in_words(facts.selection) if facts.selection else None,
        choices=rule_choices(facts.selection, facts.scores) if facts.selection and facts.scores else None,
        verdict=_verdict(version),
        decisions=decisions(version) if version else (),
        lineage=_lineage(facts, version),
        model_address=_model_address(facts, version),
    )


def front_matter(facts: CardFacts) -> Markdown:
    """Return the metadata as YAML, without the lines `---` around it."""
    published = [one_line(dataset.hub) for dataset in facts.datasets if dataset.trains and dataset.hub]
    values: dict[str, Any] = {
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "fclip", "onnx"],
    }
    if published:
        values["datasets"] = published
    if facts.training and facts.training.base_model_hub:
        values["base_model"] = one_line(facts.training.base_model_hub)
    if results := _model_index(facts):
        values["model-index"] = [{"name": one_line(facts.name), "results": results}]
    text = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return Markdown(text.rstrip())


class _Dumper(yaml.SafeDumper):
    """Quotes strings that a reader of YAML 1.2 may take for numbers, such as `1e5`, which PyYAML does not quote."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if text[:1].isalpha() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _model_index(facts: CardFacts) -> list[dict[str, Any]]:
    """Return the results on report data, which chose nothing, in the hub's form."""
    published = {dataset.name: dataset for dataset in facts.datasets}
    entries = []
    for row in sorted(facts.results, key=_order):
        if row.role != "report" or not math.isfinite(row.after.value):
            continue
        dataset = published.get(row.dataset)
        entries.append(
            {
                "task": {"type": TASKS.get(row.kind, row.kind)},
                "dataset": {
                    "type": one_line((dataset and dataset.hub) or row.dataset),
                    "name": one_line((dataset and dataset.title) or row.dataset),
                    "split": one_line(row.split),
                },
                "metrics": [
                    {
                        "type": one_line(row.metric.rpartition(".")[2]),
                        "name": one_line(row.metric),
                        "value": round(row.after.value, HEADLINE_DIGITS),
                    }
                ],
            }
        )
    return entries


def _order(row: MetricResult) -> tuple[bool, bool, str, str, bool]:
    """Sort key: report data first, out-of-domain datasets first, the primary metric first."""
    return row.role != "report", row.in_domain, row.dataset, row.split, not row.primary


def _datasets(datasets: Iterable[DatasetFacts]) -> Markdown:
    def count(number: int | None) -> str:
        return "unknown" if number is None else f"{number:,}"

    rows = [
        [dataset.name, split.split, split.role or "not used", count(split.num_products), count(split.num_images),
         count(split.num_captions)]
        for dataset in datasets
        for split in dataset.splits
    ]  # fmt: skip
    return table(["dataset", "split", "role", "products", "images", "captions"], rows, num_text_columns=3)


def _result_tables(facts: CardFacts, results: Sequence[MetricResult]) -> list[tuple[MetricResult, Markdown]]:
    """Return a table for each dataset and split, with one of its rows."""
    is_base = facts.training is not None and facts.training.candidate.name == BASE_MODEL
    header = ["metric", "items", *([] if is_base else ["base model"]), "this model"]
    tables = []
    for _, group in groupby(results, key=lambda row: (row.role, row.dataset, row.split)):
        rows = list(group)
        cells = [
            [f"{metric_label(row.metric)}{' (primary)' if row.primary else ''}", f"{row.num_items:,}",
             *([] if is_base else [_value(row.before)]), _value(row.after)]
            for row in rows
        ]  # fmt: skip
        tables.append((rows[0], table(header, cells)))
    return tables


def _value(value: ReportedValue) -> str:
    if not math.isfinite(value.value):
        return "–"
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def _measured(results: Sequence[MetricResult]) -> list[tuple[Any, list[str]]]:
    """Return the declaration of each protocol that was used, and the datasets that it was used on."""
    kinds = dict.fromkeys(row.kind for row in results)
    return [
        (protocols()[kind], list(dict.fromkeys(row.dataset for row in results if row.kind == kind))) for kind in kinds
    ]


@dataclass(frozen=True)
class _Audit:
    """The paragraph of an audit. `number`: the headline in words; None if it could not be measured."""

    title: str
    question: str
    number: str | None
    result: AuditResult


def _audit(result: AuditResult) -> _Audit:
    declared = audits().get(result.kind)
    number = None
    if headline := result.headline:
        limit = "There is no limit" if result.limit is None else f"The limit is {result.limit:.3f}"
        ends = {"passed": ": passed.", "failed": ": failed."}.get(result.status, ".")
        number = (
            f"The number is {headline.value:.3f} ({headline.low:.3f} to {headline.high:.3f}), over "
            f"{headline.num_items:,} items: {headline.label}. {limit}{ends}"
        )
    label = declared.label if declared else result.kind
    title = f"{label[0].upper()}{label[1:]}: {result.dataset}, {result.split}"
    return _Audit(title, declared.question if declared else "", number, result)


def _verdict(version: Version | None) -> str | None:
    """Return the outcome of the gate for a version, from its aliases and tags; None if it is not known."""
    if version is None:
        return None
    name = f"Version {version.version} of {version.registered_model}"
    when = version.tags.get(tags.PROMOTED_AT)
    if version.rolled_back:
        return f"{name} was promoted{f' ({when})' if when else ''} and later rolled back."
    before = f"after version {version.succeeds}" if version.succeeds else "as the first champion"
    if version.is_champion:
        return f"{name} is the champion. It was promoted {before}{f' ({when})' if when else ''}."
    if when:
        return f"{name} was promoted {before} ({when}). Another version is the champion now."
    return f"{name} was not promoted."


def _lineage(facts: CardFacts, version: Version | None) -> Markdown:
    known = {**facts.lineage, **(version.tags if version else {})}
    rows = [["model, digest", facts.model.model_sha256]]
    rows += [[label, known[tag]] for tag, label in LINEAGE.items() if known.get(tag)]
    rows += [
        [f"dataset {tag.removeprefix(tags.DATASET_SHA256)}, digest", value]
        for tag, value in sorted(known.items())
        if tag.startswith(tags.DATASET_SHA256)
    ]
    return table(["", ""], rows, num_text_columns=2)


def _model_address(facts: CardFacts, version: Version | None) -> Markdown | None:
    """Return MLflow's address of the version as a Python literal; None if the model belongs to no registered model."""
    name = version.registered_model if version else facts.registered_model
    return Markdown(repr(one_line(f"models:/{name}/{version.version if version else 'VERSION'}"))) if name else None
