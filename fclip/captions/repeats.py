"""Detect repeated text: within a caption, among a product's captions, among products."""

from collections.abc import Sequence

import regex

_AROUND_WORDS = regex.compile(r"(?<!\S)\p{P}+|\p{P}+(?!\S)")
_IGNORED = regex.compile(r"[\p{P}\s]+")


def comparison_key(text: str) -> str:
    """Return the key by which captions are compared. It ignores case, white space and punctuation."""
    return str(_IGNORED.sub(" ", text.casefold())).strip()


def words(text: str) -> str:
    """Return the words of a text for comparison: lower case, no punctuation around words, single spaces."""
    return " ".join(_AROUND_WORDS.sub("", text.casefold()).split())


def contained_in_others(values: Sequence[str]) -> list[bool]:
    """Return, for each value, whether another value contains it as a sequence of whole words.

    Of equal values, the first counts as not contained. "men" is not contained in "women", nor "shirt" in "T-shirt".
    """
    if sum(map(bool, values)) < 2:
        return [False] * len(values)
    padded = [f" {words(value)} " for value in values]
    return [
        bool(value.strip())
        and any(
            value in other and (len(other) > len(value) or earlier < number)
            for earlier, other in enumerate(padded)
            if earlier != number
        )
        for number, value in enumerate(padded)
    ]
