"""Repairs of cells whose original text is certain: mojibake, surrogate pairs, control characters, spellings."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import ftfy

from fclip.catalog.rows import SourceRow

_PLAIN = re.compile(r"[\x20-\x7e]*")  # needs no repair
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_APART = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class Repair:
    """One cell before and after its repair. `what` is the kind of repair, from a small fixed set."""

    product_id: str
    field: str
    what: str
    before: str
    after: str


def repair_row(row: SourceRow, *, max_chars: int) -> tuple[SourceRow, list[Repair]]:
    """Repair the texts and attributes of a row. Return the row and the repairs.

    Ids are not changed, since other data refer to them. Cells longer than `max_chars` are not changed either;
    validation refuses them.
    """
    repairs: list[Repair] = []

    def repaired(cells: Mapping[str, str]) -> dict[str, str]:
        new_cells = {}
        for name, text in cells.items():
            new_cells[name], kinds = repair_text(text) if len(text) <= max_chars else (text, ())
            repairs.extend(Repair(row.product_id or "", name, kind, text, new_cells[name]) for kind in kinds)
        return {name: text for name, text in new_cells.items() if text}

    if all(_PLAIN.fullmatch(text) for cells in (row.texts, row.attributes) for text in cells.values()):
        return row, []
    return replace(row, texts=repaired(row.texts), attributes=repaired(row.attributes)), repairs


def repair_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the repaired text and the kinds of repair.

    Repaired are mojibake (UTF-8 decoded with another encoding) as ftfy detects it, which changes a text only if there
    is no other explanation; surrogate pairs that encode one character; and control characters.
    """
    if _PLAIN.fullmatch(text):
        return text, ()
    kinds: dict[str, None] = {}
    before = None
    while text != before:  # one repair may enable another; each shortens the text, so the loop ends
        before = text
        for name, repair in _REPAIRS.items():
            if (after := repair(text)) != text:
                text = after
                kinds[name] = None
    return text, tuple(kinds)


def spelling_corrections(counts: Mapping[str, int]) -> dict[str, str]:
    """Map each rare spelling of a value to the most frequent one.

    Spellings of one value differ only in case, white space, hyphens or underscores. Values that stay unchanged are not
    in the result. Among equally frequent spellings the first by code points is kept.
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
