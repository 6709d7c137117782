"""Named hold-outs: whole categories or brands that are kept out of training, to be judged zero-shot."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fclip.catalog.products import Products
from fclip.errors import UserError

logger = logging.getLogger(__name__)


def held_out(
    products: Products, hold_outs: Mapping[str, Mapping[str, list[str]]], *, dataset: str, is_sample: bool
) -> dict[str, NDArray[np.bool_]]:
    """Which products [n] each hold-out takes: those that have one of its values in every one of its attributes.

    Raises:
        UserError: an attribute or a value is of no product (unless the products are a sample of the dataset).
    """
    found = {}
    for name, attributes in hold_outs.items():
        inside = np.ones(len(products), bool)
        for attribute, values in attributes.items():
            if attribute not in products.attributes:
                known = ", ".join(products.attributes) or "none"
                raise UserError(
                    f"params.yaml: ingest.datasets.{dataset}.hold_outs.{name}: no product has the attribute "
                    f"`{attribute}`; there are {known}"
                )
            column = products.attributes[attribute]
            present = column.dictionary.to_pylist()
            if absent := [value for value in values if value not in present]:
                some = ", ".join(sorted(present)[:20]) + (", …" if len(present) > 20 else "")
                message = (
                    f"params.yaml: ingest.datasets.{dataset}.hold_outs.{name}: no product has {attribute} "
                    f"{', '.join(map(repr, absent))}; there are {some}"
                )
                if not is_sample:
                    raise UserError(message)
                logger.warning("%s", message)
            wanted = np.array([value in values for value in present], bool)
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            inside &= np.append(wanted, False)[codes]
        found[name] = inside
    return found
