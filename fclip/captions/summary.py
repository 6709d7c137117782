"""The summary of a dataset's captions: counts that are logged and stored with the captions."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from fclip.captions.config import KINDS, CaptionTemplates
from fclip.captions.repeats import comparison_key
from fclip.captions.values import RuleHits
from fclip.errors import UserError

logger = logging.getLogger(__name__)


def summarise(table: pa.Table, *, num_repeated: int, num_too_long: int, hits: Mapping[str, RuleHits]) -> dict[str, Any]:
    """Return the counts of a table of captions as JSON values.

    `num_shared` counts, for each kind, products with a caption that another product also has. In a training batch
    these products are false negatives of each other.

    Args:
        num_repeated: captions that were left out since they repeat another caption of their product.
        num_too_long: captions of which not even one word fits the model's context.
        hits: the effect of each cleaning rule.
    """
    captions = table["captions"].to_pylist()
    of_kind = Counter(caption["kind"] for product_captions in captions for caption in product_captions)
    truncated = Counter(
        caption["kind"] for product_captions in captions for caption in product_captions if caption["truncated"]
    )
    return {
        "num_products": len(captions),
        "num_without_caption": sum(not product_captions for product_captions in captions),
        "num_captions": {kind: of_kind[kind] for kind in KINDS if of_kind[kind]},
        "num_truncated": {kind: truncated[kind] for kind in KINDS if truncated[kind]},
        "num_shared": {kind: _num_shared(captions, kind) for kind in KINDS if of_kind[kind]},
        "num_repeated_within_product": num_repeated,
        "num_too_long": num_too_long,
        "cleaning": {key: asdict(each) for key, each in hits.items()},
    }


def log_summary(summary: Mapping[str, Any]) -> None:
    """Log the counts."""
    kinds = _listed(summary["num_captions"]) or "no captions"
    problems = {
        "truncated captions": sum(summary["num_truncated"].values()),
        "products without captions": summary["num_without_caption"],
        "repeated captions left out": summary["num_repeated_within_product"],
        "too long captions left out": summary["num_too_long"],
    }
    counted = "".join(f"; {what}: {number}" for what, number in problems.items() if number)
    logger.info("%d products: %s%s", summary["num_products"], kinds, counted)
    if shared := _listed(summary["num_shared"]):
        logger.info("products that share a caption with another product (false negatives in training): %s", shared)
    for key, hits in summary["cleaning"].items():
        emptied = f" and emptied {hits['num_emptied']}" if hits["num_emptied"] else ""
        removed = ", ".join(map(repr, hits["examples"]))
        logger.info("rule %s: changed %d values%s; removed %s", key, hits["num_values"], emptied, removed)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {number}" for kind, number in counts.items() if number)


def check_template_names(
    templates: CaptionTemplates, products: Sequence[Mapping[str, str]], drafts: Sequence[Sequence[object]]
) -> None:
    """Warn about names in templates that no product has.

    Raises:
        UserError: no product has a value that the templates name.
    """
    parsed = templates.parsed()
    present = sorted({name for values in products for name in values})
    listed = ", ".join(present) or "none"
    if parsed and products and not any(drafts):
        names = ", ".join(sorted({name for each in parsed.values() for template in each for name in template.names}))
        raise UserError(
            f"no product has a value that the caption templates name ({names}); products have {listed}; "
            "correct `caption.datasets` in params.yaml, or `caption.settings.cleaning` if it empties the values"
        )
    named = [(f"template `{kind}`", template.names) for kind, each in parsed.items() for template in each]
    named.append(("`head`", frozenset({templates.head} if templates.head else ())))
    for where, template_names in dict.fromkeys(named):
        for name in sorted(template_names.difference(present)):
            logger.warning("caption %s names `%s`, which no product has (products have %s)", where, name, listed)


def _num_shared(captions: Sequence[Sequence[Mapping[str, Any]]], kind: str) -> int:
    product_texts = [
        {comparison_key(each["text"]) for each in product_captions if each["kind"] == kind}
        for product_captions in captions
    ]
    number = Counter(text for texts in product_texts for text in texts)
    return sum(any(number[text] > 1 for text in texts) for texts in product_texts)
