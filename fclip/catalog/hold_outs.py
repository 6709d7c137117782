"""Named hold-outs: whole categories or brands that are kept out of training for zero-shot evaluation."""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fclip.catalog.products import Products
from fclip.errors import UserError

logger = logging.getLogger(__name__)


def hold_out_masks(
    products: Products, hold_outs: Mapping[str, Mapping[str, list[str]]], *, dataset: str, is_sample: bool
) -> dict[str, NDArray[np.bool_]]:
    """Return a mask [n] of the products of each hold-out: those with one of its values in each of its attributes.

    Raises:
        UserError: no product has an attribute or a value. In a sample of the dataset, a missing value only warns.
    """
    masks = {}
    for name, attributes in hold_outs.items():
        inside = np.ones(len(products), bool)
        for attribute, values in attributes.items():
            if attribute not in products.attributes:
                known = ", ".join(products.attributes) or "none"
                raise UserError(
                    f"params.yaml: ingest.datasets.{dataset}.hold_outs.{name}: no product has the attribute "
                    f"`{attribute}`; products have {known}"
                )
            column = products.attributes[attribute]
            present = column.dictionary.to_pylist()
            if absent := [value for value in values if value not in present]:
                some = ", ".join(sorted(present)[:20]) + (", …" if len(present) > 20 else "")
                message = (
                    f"params.yaml: ingest.datasets.{dataset}.hold_outs.{name}: no product has {attribute} "
                    f"{', '.join(map(repr, absent))}; products have {some}"
                )
                if not is_sample:
                    raise UserError(message)
                logger.warning("%s", message)
            wanted = np.array([value in values for value in present], bool)
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            inside &= np.append(wanted, False)[codes]
        masks[name] = inside
    return masks
