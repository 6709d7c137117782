"""Build the captions of products: clean their texts and attributes, fill templates, shorten to the model's context.

The captions of a product depend on this product alone, so a cache can hold them (`fclip.captions.cache`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from fclip.captions.config import CaptionConfig
from fclip.captions.repeats import comparison_key
from fclip.captions.shorten import CaptionDraft, ShortenedCaption, TokenCounter, shorten
from fclip.captions.summary import check_template_names, log_summary, summarise
from fclip.captions.table import CAPTION, SCHEMA, with_summary
from fclip.captions.templates import FilledTemplate, Template, clean_value
from fclip.captions.values import read_values

KindDraft = tuple[str, CaptionDraft]
Make = Callable[[pa.Table], pa.Table]

MADE = pa.schema(
    [
        pa.field("captions", pa.list_(CAPTION), nullable=False),
        pa.field("keys", pa.list_(pa.string()), nullable=False),  # comparison key of each caption
        pa.field("num_drafts", pa.int32(), nullable=False),  # filled templates
        pa.field("num_too_long", pa.int32(), nullable=False),  # of these, without one word that fits
        pa.field("names", pa.string(), nullable=False),  # names of the product's non-empty values, as JSON
        pa.field("changed", pa.string(), nullable=False),  # values that a cleaning rule changed, as JSON; "" for none
    ]
)
"""The captions of one product per row, and what the summary needs of it."""


def build_captions(
    products: pa.Table,
    config: CaptionConfig,
    dataset: str,
    *,
    count_tokens: TokenCounter,
    context_length: int,
    reuse: Callable[[pa.Table, Make], pa.Table] | None = None,
) -> pa.Table:
    """Return the captions of every product of `dataset`, in the order of `products`, with the schema `SCHEMA`.

    A product has one caption per template with a value for one of its names, in the order of kinds and templates.
    Captions that repeat an earlier one of the product are left out. No caption has more than `context_length` tokens,
    including the start and end tokens; `truncated` marks shortened captions. The table contains a summary
    (`table.read_summary`).

    Args:
        reuse: given products and a function that makes their rows of `MADE`, returns these rows, known ones from a
            cache; None: all are made.

    Raises:
        UserError: no product has a value that the templates name, or a cleaning pattern takes too long.
    """

    def make(products: pa.Table) -> pa.Table:
        return make_captions(products, config, dataset, count_tokens=count_tokens, context_length=context_length)

    made = reuse(products, make) if reuse else make(products)
    check_template_names(config.datasets[dataset], made)
    columns = [products["product_id"], products["split"], made["captions"]]
    table = pa.Table.from_arrays([column.combine_chunks() for column in columns], schema=SCHEMA)
    summary = summarise(made)
    log_summary(summary)
    return with_summary(table, summary)


def make_captions(
    products: pa.Table, config: CaptionConfig, dataset: str, *, count_tokens: TokenCounter, context_length: int
) -> pa.Table:
    """Return the rows of `MADE` of `products`; arguments and errors as in `build_captions`."""
    templates = config.datasets[dataset]
    values = read_values(products, config.settings.cleaning, config.settings.gender)
    drafts = _drafts(templates.parsed(), templates.head, [each.values for each in values])
    fitted = shorten(
        [draft for product_drafts in drafts for _, draft in product_drafts],
        count_tokens=count_tokens,
        context_length=context_length,
    )
    distinct = [_without_repeats(product_drafts, fitted) for product_drafts in drafts]
    columns = [
        [_rows(product_drafts.values(), fitted) for product_drafts in distinct],
        [list(product_drafts) for product_drafts in distinct],
        [len(product_drafts) for product_drafts in drafts],
        [sum(fitted[draft] is None for _, draft in product_drafts) for product_drafts in drafts],
        [json.dumps(list(each.values)) for each in values],
        [json.dumps([asdict(value) for value in each.changed]) if each.changed else "" for each in values],
    ]
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, MADE, strict=True)], schema=MADE
    )


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
) -> dict[str, KindDraft]:
    """Return the drafts that fit and do not repeat an earlier one, by their comparison key."""
    kept: dict[str, KindDraft] = {}
    for kind, draft in drafts:
        if (caption := fitted[draft]) is not None:
            kept.setdefault(comparison_key(caption.text), (kind, draft))
    return kept


def _rows(drafts: Iterable[KindDraft], fitted: Mapping[CaptionDraft, ShortenedCaption | None]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "text": caption.text, "num_tokens": caption.num_tokens, "truncated": caption.shortened}
        for kind, draft in drafts
        if (caption := fitted[draft]) is not None
    ]
