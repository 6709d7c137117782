"""The summary of a dataset's captions: counts that are logged and stored with the captions."""

import json
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fclip.captions.clean import CleanedText
from fclip.captions.config import KINDS, CaptionTemplates
from fclip.captions.values import count_hits
from fclip.errors import UserError

logger = logging.getLogger(__name__)


def summarise(made: pa.Table) -> dict[str, Any]:
    """Return the counts of captions, rows of `fclip.captions.build.MADE`, as JSON values.

    `num_shared` counts, for each kind, products with a caption that another product also has. In a training batch
    these products are false negatives of each other. `num_repeated_within_product` counts captions that were left out
    since they repeat another caption of their product, `num_too_long` those of which not even one word fits the model's
    context.
    """
    column = made["captions"].combine_chunks()
    captions, keys = column.flatten(), made["keys"].combine_chunks().flatten()
    products = column.value_parent_indices().to_numpy()
    kinds = captions.field("kind")
    of_kind, truncated = _counts(kinds), _counts(kinds.filter(captions.field("truncated")))
    num_too_long = pc.sum(made["num_too_long"]).as_py() or 0
    changed = [
        CleanedText(value["text"], {key: tuple(parts) for key, parts in value["removed"].items()})
        for values in made["changed"].filter(pc.not_equal(made["changed"], "")).to_pylist()
        for value in json.loads(values)
    ]
    return {
        "num_products": len(made),
        "num_without_caption": len(made) - len(np.unique(products)),
        "num_captions": {kind: of_kind[kind] for kind in KINDS if of_kind[kind]},
        "num_truncated": {kind: truncated[kind] for kind in KINDS if truncated[kind]},
        "num_shared": {
            kind: _num_shared(keys.filter(chosen), products[chosen.to_numpy(zero_copy_only=False)])
            for kind in KINDS
            if of_kind[kind]
            for chosen in [pc.equal(kinds, kind)]
        },
        "num_repeated_within_product": (pc.sum(made["num_drafts"]).as_py() or 0) - num_too_long - len(captions),
        "num_too_long": num_too_long,
        "cleaning": {key: asdict(each) for key, each in count_hits(changed).items()},
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


def check_template_names(templates: CaptionTemplates, made: pa.Table) -> None:
    """Warn about names in templates that no product has; `made` has rows of `fclip.captions.build.MADE`.

    Raises:
        UserError: no product has a value that the templates name.
    """
    parsed = templates.parsed()
    present = sorted({name for names in made["names"].unique().to_pylist() for name in json.loads(names)})
    listed = ", ".join(present) or "none"
    if parsed and len(made) and not pc.any(pc.greater(made["num_drafts"], 0)).as_py():
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


def _counts(values: pa.Array) -> Counter[str]:
    return Counter({each["values"]: each["counts"] for each in values.value_counts().to_pylist()})


def _num_shared(keys: pa.Array, products: NDArray[np.int64]) -> int:
    """Return the number of products with a comparison key that another product has; a product's keys are distinct."""
    indices = keys.dictionary_encode().indices.to_numpy()
    return len(np.unique(products[np.bincount(indices)[indices] > 1]))
