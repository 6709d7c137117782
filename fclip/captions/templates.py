"""Templates of captions, filled with what a product has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

VALUE = "\0"  # stands for a value while the words around it are tidied


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

    def fill(self, values: Mapping[str, str]) -> str | None:
        """The template with `values` in it, or None when none of its names has a value that says something.

        A name without a value is left out, and the punctuation that would be left dangling with it; the words of the
        template stay. A value without a letter or digit in it counts as none. White space is made single spaces.
        """
        skeleton, found = "", []
        for literal, name in self.pieces:
            skeleton += literal
            value = _said(values.get(name, "")) if name is not None else ""
            if value:
                skeleton += VALUE
                found.append(value)
        if not found:
            return None
        filled = iter(found)
        return "".join(next(filled) if part == VALUE else part for part in re.split(f"({VALUE})", _tidy(skeleton)))


def _said(value: str) -> str:
    """A value in one line, without separators at its ends; empty when it says nothing."""
    text = " ".join(value.replace(VALUE, " ").split()).strip(" ,;")
    return text if re.search(r"[^\W_]", text) else ""


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
