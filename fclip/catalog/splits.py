"""Which split a product is in: a hash of what it belongs to, so that adding products moves none of the old ones."""

import hashlib
import re
import unicodedata
from collections.abc import Mapping

from fclip.catalog.config import SPLITS


def split_key(*, product_id: str, parent_id: str | None, title: str) -> str:
    """What the split of a product is a hash of: its parent, else its normalised title, else itself.

    Products of one title are variants of one thing, and must not be on both sides of a split.
    """
    return parent_id if parent_id is not None else title or product_id


def normalised_title(texts: Mapping[str, str]) -> str:
    """The normalised title, else all texts; empty where they say nothing."""
    return normalised_text(texts.get("title") or " ".join(texts[name] for name in sorted(texts)))


def normalised_text(text: str) -> str:
    """Letters and digits alone, case folded, words apart by one space (Unicode NFKC)."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def position(group: str) -> float:
    """Where a group falls in [0, 1): from its SHA-256 alone, with no salt and no seed."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def split_of(group: str, fractions: Mapping[str, float]) -> str:
    """The split of a group; `fractions` sum to 1, and lie in [0, 1) in the order train, val, test."""
    place = position(group)
    splits = [split for split in SPLITS if split in fractions]
    end = 0.0
    for split in splits:
        end += fractions[split]
        if place < end:
            return split
    return splits[-1]  # the fractions' sum fell short of 1 by rounding
