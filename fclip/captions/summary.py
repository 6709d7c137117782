"""What a person should know of a dataset's captions: counted, logged, and kept with them."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from fclip.captions.config import KINDS, CaptionTemplates
from fclip.captions.repeats import normalised
from fclip.captions.values import RuleHits
from fclip.errors import UserError

logger = logging.getLogger(__name__)


def summarise(table: pa.Table, *, num_repeated: int, num_too_long: int, hits: Mapping[str, RuleHits]) -> dict[str, Any]:
    """Counts of a table of captions as JSON values.

    `num_shared` counts, for each kind, products with a caption of it that another product has too: in a batch of
    training each of these is a false negative of the others.

    Args:
        num_repeated: captions left out since they say the same as another of their product.
        num_too_long: captions of which not one word fits the model's context.
        hits: what each rule of cleaning did.
    """
    captions = table["captions"].to_pylist()
    of_kind = Counter(caption["kind"] for own in captions for caption in own)
    truncated = Counter(caption["kind"] for own in captions for caption in own if caption["truncated"])
    return {
        "num_products": len(captions),
        "num_without_caption": sum(not own for own in captions),
        "num_captions": {kind: of_kind[kind] for kind in KINDS if of_kind[kind]},
        "num_truncated": {kind: truncated[kind] for kind in KINDS if truncated[kind]},
        "num_shared": {kind: _num_shared(captions, kind) for kind in KINDS if of_kind[kind]},
        "num_repeated_within_product": num_repeated,
        "num_too_long": num_too_long,
        "cleaning": {key: asdict(each) for key, each in hits.items()},
    }


def log_summary(summary: Mapping[str, Any]) -> None:
    """Say what was counted."""
    kinds = ", ".join(f"{kind} {number}" for kind, number in summary["num_captions"].items()) or "no captions"
    logger.info(
        "%d products: %s; %d truncated; %d products without any; left out: %d repeated, %d too long",
        summary["num_products"],
        kinds,
        sum(summary["num_truncated"].values()),
        summary["num_without_caption"],
        summary["num_repeated_within_product"],
        summary["num_too_long"],
    )
    shared = ", ".join(f"{kind} {number}" for kind, number in summary["num_shared"].items() if number)
    if shared:
        logger.info("products that share a caption with another (false negatives in training): %s", shared)
    for key, hits in summary["cleaning"].items():
        logger.info(
            "rule %s: %d values changed, %d of them to nothing; took out %s",
            *(key, hits["num_values"], hits["num_emptied"], ", ".join(map(repr, hits["examples"]))),
        )


def check_names(
    templates: CaptionTemplates, products: Sequence[Mapping[str, str]], drafts: Sequence[Sequence[object]]
) -> None:
    """Warn of names that no product has; raises UserError when no product has anything that the templates name."""
    parsed = templates.parsed()
    present = sorted({name for own in products for name in own})
    listed = ", ".join(present) or "none"
    if parsed and products and not any(drafts):
        names = ", ".join(sorted({name for each in parsed.values() for template in each for name in template.names}))
        raise UserError(
            f"no product has anything that the caption templates name ({names}): "
            f"products have {listed}; mend `caption.datasets` in params.yaml, or `caption.cleaning` if it empties them"
        )
    named = [(f"template `{kind}`", template.names) for kind, each in parsed.items() for template in each]
    named.append(("`head`", frozenset({templates.head} if templates.head else ())))
    for where, names_there in dict.fromkeys(named):
        for name in sorted(names_there.difference(present)):
            logger.warning("caption %s names `%s`, which no product has (they have %s)", where, name, listed)


def _num_shared(captions: Sequence[Sequence[Mapping[str, Any]]], kind: str) -> int:
    own_texts = [{normalised(each["text"]) for each in own if each["kind"] == kind} for own in captions]
    number = Counter(text for own in own_texts for text in own)
    return sum(any(number[text] > 1 for text in own) for own in own_texts)
