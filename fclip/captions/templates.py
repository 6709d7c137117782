"""Caption templates, filled with the values of a product."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from fclip.captions.repeats import contained_in_others

VALUE = "\0"  # placeholder for a value while the words around it are tidied
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class FilledTemplate:
    """A filled template. `ends` are the end positions of the values in `text`, in order."""

    text: str
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Template:
    """A text with placeholders `{name}` for a product's texts and attributes."""

    pieces: tuple[tuple[str, str | None], ...]  # (literal text, name after it)

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Parse `text`. Raise ValueError ("must …") if it has no placeholder or unpaired braces."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise ValueError(f"must be a template such as '{{colour}} {{article_type}}': {error} in {text!r}") from None
        pieces = []
        for literal, name, specification, conversion in parsed:
            if name is not None and (not name.isidentifier() or specification or conversion):
                raise ValueError(f"must have plain names in braces, not `{{{name}}}` as in {text!r}")
            pieces.append((" ".join(literal.replace(VALUE, " ").split("\n")), name))
        if not any(name for _, name in pieces):
            raise ValueError(f"must name a text or an attribute in braces; {text!r} does not")
        return cls(tuple(pieces))

    @property
    def names(self) -> frozenset[str]:
        """The names in braces."""
        return frozenset(name for _, name in self.pieces if name is not None)

    def fill(self, values: Mapping[str, str]) -> FilledTemplate | None:
        """Fill the template with `values`. Return None if none of its names has a value.

        A name without a value is left out, with the words that lead to it ("{article_type} for {gender}" gives "dress"
        without a gender) and with dangling punctuation. A value that another value of the template contains is left out
        too. The words at the beginning of the template stay. A value without a letter or digit counts as missing.
        White space is collapsed to single spaces.
        """
        cleaned = [clean_value(values.get(name, "")) if name is not None else "" for _, name in self.pieces]
        repeated = contained_in_others(cleaned)
        kept = [value for value, again in zip(cleaned, repeated, strict=True) if value and not again]
        if not kept:
            return None
        next_values = iter(kept)
        text, ends = "", []
        for part in self._around(
            tuple(bool(value) and not again for value, again in zip(cleaned, repeated, strict=True))
        ):
            text += next(next_values) if part == VALUE else part
            if part == VALUE:
                ends.append(len(text))
        return FilledTemplate(text, tuple(ends))

    @lru_cache(maxsize=4096)  # noqa: B019 - few templates and combinations of values
    def _around(self, present: tuple[bool, ...]) -> tuple[str, ...]:
        """Return the template's tidied words, with `VALUE` for each present value (at least one)."""
        skeleton, begun, last = "", False, True
        for number, ((literal, name), value) in enumerate(zip(self.pieces, present, strict=True)):
            stays = number == 0 or (
                begun and value if name is not None else last
            )  # a literal without a name ends the one before it
            skeleton += (literal if stays else _without_words(literal)) + VALUE * value
            begun, last = begun or value, last if name is None else value
        return tuple(re.split(f"({VALUE})", _tidy(skeleton)))


def clean_value(value: str) -> str:
    """Return a value on one line, without separators at its ends; empty if it has no letter or digit."""
    text = " ".join(value.replace(VALUE, " ").split()).strip(" ,;")
    return text if _LETTER_OR_DIGIT.search(text) else ""


def _without_words(literal: str) -> str:
    return re.sub(r"[^\s,;:/|()\[\].!?-]+", " ", literal)


def _tidy(skeleton: str) -> str:
    text = re.sub(r"\s+", " ", skeleton)
    text = re.sub(r"\(\s*[,;:/|-]*\s*\)|\[\s*[,;:/|-]*\s*\]", "", text)  # empty brackets
    text = re.sub(r"\s+([,;:.!?)\]])", r"\1", text)
    text = re.sub(r"([(\[])\s+", r"\1", text)
    text = re.sub(r"([,;:/|-])(?:\s*[,;:/|-])+", r"\1", text)  # consecutive separators
    text = re.sub(r"[,;:/|-]\s*([.!?)\]])", r"\1", text)
    text = re.sub(r"([(\[])[,;:/|-]\s*", r"\1", text)
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"^[\s,;:/|.-]+|[\s,;:/|-]+$", "", text)
