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
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_APART = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Repair:
    """One cell as it came and as it is kept; `what` is one of few, and counted."""

    product_id: str
    field: str
    what: str
    before: str
    after: str


def repair_row(row: SourceRow, *, max_chars: int) -> tuple[SourceRow, list[Repair]]:
    """The row with its texts and attributes repaired, and what was done.

    Ids stay as they are: they are names. So do cells longer than `max_chars`, which validation refuses.
    """
    repairs: list[Repair] = []

    def mended(cells: Mapping[str, str]) -> dict[str, str]:
        found = {}
        for name, text in cells.items():
            found[name], what = repair_text(text) if len(text) <= max_chars else (text, ())
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
    what: dict[str, None] = {}
    before = None
    while text != before:  # each repair may uncover another; all of them shorten the text
        before = text
        for name, repair in _REPAIRS.items():
            if (after := repair(text)) != text:
                text = after
                what[name] = None
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


def _join_surrogates(text: str) -> str:
    return ftfy.fixes.fix_surrogates(text) if _PAIR.search(text) else text


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text).strip()


def _read_as_utf8(text: str) -> str:
    return text if text.isascii() else ftfy.fix_encoding(text)


_REPAIRS = {
    "surrogate pairs": _join_surrogates,
    "control characters": _without_control,
    "mojibake": _read_as_utf8,
}
