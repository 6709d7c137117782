"""Captions of products: from their texts and attributes, cleaned, by templates, cut to the model's context."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fclip.captions.config import CaptionConfig
from fclip.captions.repeats import normalised
from fclip.captions.shorten import Draft, ShortenedCaption, TokenCounter, shorten
from fclip.captions.summary import check_names, log_summary, summarise
from fclip.captions.table import SCHEMA, with_summary
from fclip.captions.templates import Filled, Template, says
from fclip.captions.values import read_values

KindDraft = tuple[str, Draft]


def build_captions(
    products: pa.Table, config: CaptionConfig, dataset: str, *, count_tokens: TokenCounter, context_length: int
) -> pa.Table:
    """The captions of every product of `dataset` (a catalog's `products`), in the products' order; schema `SCHEMA`.

    A product has a caption of each template that names something that it has, in the order of kinds and templates,
    save what says the same as one before it. None is longer than `context_length` tokens, start and end included:
    `truncated` says that something was left out for it. The table carries a summary (`table.read_summary`).

    Raises:
        UserError: there are templates, and no product has anything that they name; or a pattern takes too long.
    """
    templates = config.datasets[dataset]
    parsed = templates.parsed()
    values = read_values(products, config.cleaning, config.gender)
    drafts = _drafts(parsed, templates.head, values.products)
    check_names(templates, values.products, drafts)
    fitted = shorten(
        [draft for own in drafts for _, draft in own],
        count_tokens=count_tokens,
        context_length=context_length,
    )
    unlike = [_unlike(own, fitted) for own in drafts]
    columns = [
        products["product_id"].combine_chunks(),
        products["split"].combine_chunks(),
        pa.array([_rows(own, fitted) for own in unlike], SCHEMA.field("captions").type),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    num_too_long = sum(fitted[draft] is None for own in drafts for _, draft in own)
    summary = summarise(
        table,
        num_repeated=sum(map(len, drafts)) - num_too_long - sum(map(len, unlike)),
        num_too_long=num_too_long,
        hits=values.hits,
    )
    log_summary(summary)
    return with_summary(table, summary)


def _drafts(
    parsed: Mapping[str, Sequence[Template]], head: str | None, products: Sequence[Mapping[str, str]]
) -> list[list[KindDraft]]:
    """The captions of each product as the templates make them, with their kinds."""
    fills = [(kind, _remembering(template)) for kind, templates in parsed.items() for template in templates]
    heads = [says(own.get(head, "")) if head else "" for own in products]
    return [
        [(kind, Draft(filled.text, filled.ends, said)) for kind, fill in fills if (filled := fill(own)) is not None]
        for own, said in zip(products, heads, strict=True)
    ]


def _remembering(template: Template) -> Callable[[Mapping[str, str]], Filled | None]:
    """The template's `fill` that does the same values, as attributes often are, once."""
    known: dict[tuple[str | None, ...], Filled | None] = {}
    names = sorted(template.names)

    def fill(values: Mapping[str, str]) -> Filled | None:
        key = tuple(values.get(name) for name in names)
        if key not in known:
            known[key] = template.fill(values)
        return known[key]

    return fill


def _unlike(drafts: Sequence[KindDraft], fitted: Mapping[Draft, ShortenedCaption | None]) -> list[KindDraft]:
    """Those that fit and say something else than the ones before."""
    kept: dict[str, KindDraft] = {}
    for kind, draft in drafts:
        if (caption := fitted[draft]) is not None:
            kept.setdefault(normalised(caption.text), (kind, draft))
    return list(kept.values())


def _rows(drafts: Iterable[KindDraft], fitted: Mapping[Draft, ShortenedCaption | None]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "text": caption.text, "num_tokens": caption.num_tokens, "truncated": caption.shortened}
        for kind, draft in drafts
        if (caption := fitted[draft]) is not None
    ]
