"""Captions of products: from their texts and attributes, by templates."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.captions.config import KINDS, CaptionTemplates
from fclip.captions.templates import Template
from fclip.captions.tokens import TokenCounter
from fclip.errors import UserError
from fclip.files import atomic_path

logger = logging.getLogger(__name__)
CAPTION = pa.struct(
    [
        pa.field("kind", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("num_tokens", pa.int32(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("captions", pa.list_(CAPTION), nullable=False),
    ]
)
TEXTS_AT_ONCE = 4096


def build_captions(
    products: pa.Table, templates: CaptionTemplates, *, count_tokens: TokenCounter, context_length: int
) -> pa.Table:
    """The captions of every product (a catalog's `products`), in the products' order; schema `SCHEMA`.

    A product has one caption of each kind whose template names something that it has, so at least one if it has
    anything that any template names. `num_tokens` counts the whole text, start and end included; `truncated` says
    that it is more than `context_length`.

    Raises:
        UserError: there are templates, and no product has anything that they name.
    """
    parsed = templates.parsed()
    values = list(_values(products))
    texts = [{kind: text for kind, each in parsed.items() if (text := each.fill(own)) is not None} for own in values]
    _report(parsed, values, texts)
    num_tokens = _count(sorted({text for own in texts for text in own.values()}), count_tokens)
    captions = [
        [
            {
                "kind": kind,
                "text": own[kind],
                "num_tokens": num_tokens[own[kind]],
                "truncated": num_tokens[own[kind]] > context_length,
            }
            for kind in KINDS
            if kind in own
        ]
        for own in texts
    ]
    columns = [
        products["product_id"].combine_chunks(),
        products["split"].combine_chunks(),
        pa.array(captions, SCHEMA.field("captions").type),
    ]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    _log(table)
    return table


def write_captions(path: Path, captions: pa.Table) -> None:
    """Write captions to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(captions, temporary, compression="zstd")


def read_captions(path: Path) -> pa.Table:
    """The captions in `path`; raises UserError when there are none."""
    if not path.is_file():
        raise UserError(f"{path} does not exist: run `dvc pull`, or caption {path.stem} first")
    return pq.read_table(path)


def _values(products: pa.Table) -> Iterator[dict[str, str]]:
    columns = (products[name].to_pylist() for name in ("attributes", "texts"))
    for attributes, texts in zip(*columns, strict=True):
        yield {**dict(attributes), **dict(texts)}


def _count(texts: Sequence[str], count_tokens: TokenCounter) -> dict[str, int]:
    counts: dict[str, int] = {}
    for begin in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[begin : begin + TEXTS_AT_ONCE]
        counts.update(zip(part, count_tokens(part), strict=True))
    return counts


def _report(
    parsed: Mapping[str, Template], values: Sequence[Mapping[str, str]], texts: Sequence[Mapping[str, str]]
) -> None:
    """Say which names of templates no product has; refuse templates that name nothing that any product has."""
    present = sorted({name for own in values for name in own})
    listed = ", ".join(present) or "none"
    if parsed and values and not any(texts):
        names = ", ".join(sorted({name for template in parsed.values() for name in template.names}))
        raise UserError(
            f"no product has anything that the caption templates name ({names}): "
            f"products have {listed}; mend `caption.datasets` in params.yaml"
        )
    for kind, template in parsed.items():
        for name in sorted(template.names.difference(present)):
            logger.warning("caption template `%s` names `%s`, which no product has (they have %s)", kind, name, listed)


def _log(table: pa.Table) -> None:
    captions = table["captions"].to_pylist()
    kinds = Counter(caption["kind"] for own in captions for caption in own)
    truncated = sum(caption["truncated"] for own in captions for caption in own)
    none = sum(not own for own in captions)
    counts = ", ".join(f"{kind} {kinds[kind]}" for kind in KINDS if kinds[kind]) or "no captions"
    logger.info("%d products: %s; %d truncated; %d products without any", len(captions), counts, truncated, none)
