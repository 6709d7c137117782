"""What says the same: within a caption, among a product's captions, among products."""

from collections.abc import Sequence

import regex

_AROUND_WORDS = regex.compile(r"(?<!\S)\p{P}+|\p{P}+(?!\S)")
_NOT_TOLD_APART = regex.compile(r"[\p{P}\s]+")


def normalised(text: str) -> str:
    """What captions are compared by: case, white space and punctuation are not told apart."""
    return str(_NOT_TOLD_APART.sub(" ", text.casefold())).strip()


def words(text: str) -> str:
    """The words of a text for comparison, in lower case, without punctuation around them, separated by spaces."""
    return " ".join(_AROUND_WORDS.sub("", text.casefold()).split())


def said_elsewhere(values: Sequence[str]) -> list[bool]:
    """Of each value whether another says it: all of its words, in order, with none between.

    Of values that say the same the first is kept. Whole words alone count: "men" is not said by "women", nor "shirt"
    by "T-shirt".
    """
    if sum(map(bool, values)) < 2:
        return [False] * len(values)
    padded = [f" {words(value)} " for value in values]
    return [
        bool(own.strip())
        and any(
            own in other and (len(other) > len(own) or earlier < number)
            for earlier, other in enumerate(padded)
            if earlier != number
        )
        for number, own in enumerate(padded)
    ]
