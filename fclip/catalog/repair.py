"""Repairs that are certain: what a cell is known to have said before a program on the way broke it."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import ftfy

from fclip.catalog.rows import SourceRow

_PLAIN = re.compile(r"[\x20-\x7e]*")  # nothing in it that could want a repair
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_APART = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Repair:
    """One cell as it came and as it is kept; `what` is one of few, and counted."""

    product_id: str
    field: str
    what: str
    before: str
    after: str


def repair_row(row: SourceRow) -> tuple[SourceRow, list[Repair]]:
    """The row with its texts and attributes repaired, and what was done. Ids stay as they are: they are names."""
    repairs: list[Repair] = []

    def mended(cells: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for name, text in cells.items():
            found[name], what = repair_text(text)
            repairs.extend(Repair(row.product_id or "", name, each, text, found[name]) for each in what)
        return {name: text for name, text in found.items() if text}

    if all(_PLAIN.fullmatch(text) for cells in (row.texts, row.attributes) for text in cells.values()):
        return row, []
    return replace(row, texts=mended(row.texts), attributes=mended(row.attributes)), repairs


def repair_text(text: str) -> tuple[str, tuple[str, ...]]:
    """The text repaired, and what was wrong with it.

    Mojibake (UTF-8 read as something else) as ftfy finds it, which changes a text only when nothing else explains it;
    pairs of surrogates that stand for one character; control characters. Nothing else is touched.
    """
    if _PLAIN.fullmatch(text):
        return text, ()
    what = []
    if (joined := ftfy.fixes.fix_surrogates(text) if _has_pair(text) else text) != text:
        text = joined
        what.append("surrogate pairs")
    if not text.isascii() and (fixed := ftfy.fix_encoding(text)) != text:
        text = fixed
        what.append("mojibake")
    if (clean := _CONTROL.sub("", text).strip()) != text:
        text = clean
        what.append("control characters")
    return text, tuple(what)


def one_spelling(counts: Mapping[str, int]) -> dict[str, str]:
    """Values of a category that differ only in case, white space, hyphens or underscores -> the most frequent of them.

    Only the values to be changed are there. Of equally frequent ones the first in order of code points is kept.
    """
    spellings: dict[str, list[str]] = defaultdict(list)
    for value in counts:
        spellings[_APART.sub(" ", unicodedata.normalize("NFKC", value).casefold()).strip()].append(value)
    renamed = {}
    for values in spellings.values():
        best = min(values, key=lambda value: (-counts[value], value))
        renamed.update({value: best for value in values if value != best})
    return renamed


def _has_pair(text: str) -> bool:
    return re.search("[\ud800-\udbff][\udc00-\udfff]", text) is not None
