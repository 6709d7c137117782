"""Templates of captions, filled with what a product has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from fclip.captions.repeats import said_elsewhere

VALUE = "\0"  # stands for a value while the words around it are tidied
_SAYS_SOMETHING = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class Filled:
    """A caption made by a template; `ends`: where in `text` each value in it ends, in order."""

    text: str
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Template:
    """A text with `{name}` where a product's text or attribute of that name goes."""

    pieces: tuple[tuple[str, str | None], ...]  # literal text, and the name that follows it

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Parse `text`; raises ValueError ("must …") when it names nothing or has braces that do not pair."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"must be a template such as '{{colour}} {{article_type}}': {error} in {text!r}") from None
        pieces = []
        for literal, name, specification, conversion in parsed:
            if name is not None and (not name.isidentifier() or specification or conversion):
                raise ValueError(f"must have plain names in its braces, not `{{{name}}}` as in {text!r}")
            pieces.append((" ".join(literal.replace(VALUE, " ").split("\n")), name))
        if not any(name for _, name in pieces):
            raise ValueError(f"must name a text or an attribute in braces, which {text!r} does not")
        return cls(tuple(pieces))

    @property
    def names(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(name for _, name in self.pieces if name is not None)

    def fill(self, values: Mapping[str, str]) -> Filled | None:
        """The template with `values` in it, or None when none of its names has a value that says something.

        A name without a value is left out, with the words that lead to it ("{article_type} for {gender}" is "dress"
        without a gender) and the punctuation that would be left dangling; so is a value that another one of the
        template says too. The words that open the template stay. A value without a letter or digit in it counts as
        none. White space is made single spaces.
        """
        own = [says(values.get(name, "")) if name is not None else "" for _, name in self.pieces]
        repeated = said_elsewhere(own)
        found = [value for value, again in zip(own, repeated, strict=True) if value and not again]
        if not found:
            return None
        filled = iter(found)
        text, ends = "", []
        for part in self._around(tuple(bool(value) and not again for value, again in zip(own, repeated, strict=True))):
            text += next(filled) if part == VALUE else part
            if part == VALUE:
                ends.append(len(text))
        return Filled(text, tuple(ends))

    @lru_cache(maxsize=4096)  # noqa: B019 - the same few templates and patterns of values, over and over
    def _around(self, there: tuple[bool, ...]) -> tuple[str, ...]:
        """The template's own words, tidied, with `VALUE` for each value that is there (one of them at least)."""
        skeleton, begun, last = "", False, True
        for number, ((literal, name), value) in enumerate(zip(self.pieces, there, strict=True)):
            stays = number == 0 or (begun and value if name is not None else last)  # without a name it ends the last
            skeleton += (literal if stays else _without_words(literal)) + VALUE * value
            begun, last = begun or value, last if name is None else value
        return tuple(re.split(f"({VALUE})", _tidy(skeleton)))


def says(value: str) -> str:
    """A value in one line, without separators at its ends; empty when it says nothing."""
    text = " ".join(value.replace(VALUE, " ").split()).strip(" ,;")
    return text if _SAYS_SOMETHING.search(text) else ""


def _without_words(literal: str) -> str:
    return re.sub(r"[^\s,;:/|()\[\].!?-]+", " ", literal)


def _tidy(skeleton: str) -> str:
    text = re.sub(r"\s+", " ", skeleton)
    text = re.sub(r"\(\s*[,;:/|-]*\s*\)|\[\s*[,;:/|-]*\s*\]", "", text)  # brackets around nothing
    text = re.sub(r"\s+([,;:.!?)\]])", r"\1", text)
    text = re.sub(r"([(\[])\s+", r"\1", text)
    text = re.sub(r"([,;:/|-])(?:\s*[,;:/|-])+", r"\1", text)  # separators in a row, with nothing between
    text = re.sub(r"[,;:/|-]\s*([.!?)\]])", r"\1", text)
    text = re.sub(r"([(\[])[,;:/|-]\s*", r"\1", text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"^[\s,;:/|.-]+|[\s,;:/|-]+$", "", text)
