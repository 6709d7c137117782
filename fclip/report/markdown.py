"""Markdown from any text: names, titles and reasons come from catalogs and params, and may contain markup."""

import re
from collections.abc import Sequence

HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# An underscore inside a word is no markup, and metric names and candidates are full of them.
_SPECIAL = re.compile(r"[\\`*\[\]{}|~$#&<>]|(?<![^\W_])_|_(?![^\W_])")
_LIST_MARK = re.compile(r"^(\d*)([-+.)])(?= |$)")


class Markdown(str):
    """Text that is Markdown already, so that `escape` returns it unchanged."""


def one_line(text: str) -> str:
    """Return the text on one line, without control characters and other characters that cannot be printed."""
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())


def escape(value: object) -> Markdown:
    """Return Markdown that shows the text of `value` on one line, in a paragraph, list or table."""
    if isinstance(value, Markdown):
        return value
    text = _SPECIAL.sub(lambda found: HTML.get(found[0], "\\" + found[0]), one_line(str(value)))
    return Markdown(_LIST_MARK.sub(r"\1\\\2", text))


def table(header: Sequence[str], rows: Sequence[Sequence[object]], *, num_text_columns: int = 1) -> Markdown:
    """Return a table. Cells are escaped; columns after the first `num_text_columns` are aligned to the right."""
    align = ["---" if column < num_text_columns else "--:" for column in range(len(header))]
    assert all(len(row) == len(header) for row in rows)
    cells = [header, *rows]
    head, *body = (f"| {' | '.join(map(escape, row))} |" for row in cells)
    return Markdown("\n".join([head, f"| {' | '.join(align)} |", *body]))
