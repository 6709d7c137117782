"""Build the captions of products: clean their texts and attributes, fill templates, shorten to the model's context."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fclip.captions.config import CaptionConfig
from fclip.captions.repeats import comparison_key
from fclip.captions.shorten import CaptionDraft, ShortenedCaption, TokenCounter, shorten
from fclip.captions.summary import check_template_names, log_summary, summarise
from fclip.captions.table import SCHEMA, with_summary
from fclip.captions.templates import FilledTemplate, Template, clean_value
from fclip.captions.values import read_values

KindDraft = tuple[str, CaptionDraft]


def build_captions(
    products: pa.Table, config: CaptionConfig, dataset: str, *, count_tokens: TokenCounter, context_length: int
) -> pa.Table:
    """Return the captions of every product of `dataset`, in the order of `products`, with the schema `SCHEMA`.

    A product has one caption per template with a value for one of its names, in the order of kinds and templates.
    Captions that repeat an earlier one of the product are left out. No caption has more than `context_length` tokens,
    including the start and end tokens; `truncated` marks shortened captions. The table contains a summary
    (`table.read_summary`).

    Raises:
        UserError: no product has a value that the templates name, or a cleaning pattern takes too long.
    """
    templates = config.datasets[dataset]
    parsed = templates.parsed()
    values = read_values(products, config.settings.cleaning, config.settings.gender)
    drafts = _drafts(parsed, templates.head, values.products)
    check_template_names(templates, values.products, drafts)
    fitted = shorten(
        [draft for product_drafts in drafts for _, draft in product_drafts],
        count_tokens=count_tokens,
        context_length=context_length,
    )
    distinct = [_without_repeats(product_drafts, fitted) for product_drafts in drafts]
    columns = [
        products["product_id"].combine_chunks(),
        products["split"].combine_chunks(),
        pa.array([_rows(product_drafts, fitted) for product_drafts in distinct], SCHEMA.field("captions").type),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    num_too_long = sum(fitted[draft] is None for product_drafts in drafts for _, draft in product_drafts)
    summary = summarise(
        table,
        num_repeated=sum(map(len, drafts)) - num_too_long - sum(map(len, distinct)),
        num_too_long=num_too_long,
        hits=values.hits,
    )
    log_summary(summary)
    return with_summary(table, summary)


def _drafts(
    parsed: Mapping[str, Sequence[Template]], head: str | None, products: Sequence[Mapping[str, str]]
) -> list[list[KindDraft]]:
    """Return the unshortened captions of each product, with their kinds."""
    fills = [(kind, _cached_fill(template)) for kind, templates in parsed.items() for template in templates]
    heads = [clean_value(values.get(head, "")) if head else "" for values in products]
    return [
        [
            (kind, CaptionDraft(filled.text, filled.ends, head_text))
            for kind, fill in fills
            if (filled := fill(values)) is not None
        ]
        for values, head_text in zip(products, heads, strict=True)
    ]


def _cached_fill(template: Template) -> Callable[[Mapping[str, str]], FilledTemplate | None]:
    """Return the template's `fill` with a cache, since attribute values often repeat."""
    known: dict[tuple[str | None, ...], FilledTemplate | None] = {}
    names = sorted(template.names)

    def fill(values: Mapping[str, str]) -> FilledTemplate | None:
        key = tuple(values.get(name) for name in names)
        if key not in known:
            known[key] = template.fill(values)
        return known[key]

    return fill


def _without_repeats(
    drafts: Sequence[KindDraft], fitted: Mapping[CaptionDraft, ShortenedCaption | None]
) -> list[KindDraft]:
    """Return the drafts that fit and do not repeat an earlier one."""
    kept: dict[str, KindDraft] = {}
    for kind, draft in drafts:
        if (caption := fitted[draft]) is not None:
            kept.setdefault(comparison_key(caption.text), (kind, draft))
    return list(kept.values())


def _rows(drafts: Iterable[KindDraft], fitted: Mapping[CaptionDraft, ShortenedCaption | None]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "text": caption.text, "num_tokens": caption.num_tokens, "truncated": caption.shortened}
        for kind, draft in drafts
        if (caption := fitted[draft]) is not None
    ]
