"""Assign a product to a split by the hash of its key, so that adding products moves no existing product."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping

from fclip.catalog.config import SPLITS


def split_key(*, product_id: str, parent_id: str | None, title: str) -> str:
    """Return the input of a product's split hash: its parent, else its normalised title, else its id.

    Products with the same title are variants of one product and must be in the same split.
    """
    return parent_id if parent_id is not None else title or product_id


def normalised_title(texts: Mapping[str, str]) -> str:
    """Return the normalised title, or all texts normalised if there is no title; may be empty."""
    return normalised_text(texts.get("title") or " ".join(texts[name] for name in sorted(texts)))


def normalised_text(text: str) -> str:
    """Return the words of a text, NFKC-normalised and case-folded, separated by single spaces."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def split_position(group: str) -> float:
    """Return the position of a group in [0, 1), from its SHA-256 without salt or seed."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def split_of(group: str, fractions: Mapping[str, float]) -> str:
    """Return the split of a group. `fractions` sum to 1 and divide [0, 1) in the order train, val, test."""
    position = split_position(group)
    splits = [split for split in SPLITS if split in fractions]
    end = 0.0
    for split in splits:
        end += fractions[split]
        if position < end:
            return split
    return splits[-1]  # the sum of the fractions is below 1 by rounding
