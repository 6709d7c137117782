"""Convert HTML to plain text: remove tags and comments, decode entities once.

This is not a browser: text that is not an HTML tag (`<3`, `a < b`, `<W32 or >L30`) stays. One pass, in linear time for
any input.
"""

import html
import re
from html.entities import html5

HIDDEN = "script style template noscript"  # elements whose content is not text
BLOCKS = (
    "address article aside blockquote center dd details dialog dir div dl dt fieldset figcaption figure footer form "
    "h1 h2 h3 h4 h5 h6 header hr li main menu nav ol p pre section summary table tbody tfoot thead tr ul"
)
SPACES = "audio br button caption iframe img input option select td textarea th title video"
INLINE = (
    "a abbr acronym b base basefont bdi bdo big body cite code col colgroup data del dfn em embed font head html i ins "
    "kbd label legend link map mark meta meter nobr object optgroup output param picture progress q rp rt ruby s samp "
    "small source span strike strong sub sup svg path time tt u var wbr"
)
_HIDDEN, _BLOCKS, _SPACES = (frozenset(names.split()) for names in (HIDDEN, BLOCKS, SPACES))
_NAMES = _HIDDEN | _BLOCKS | _SPACES | frozenset(INLINE.split())
_INSIDE, _APART, _BREAK = (
    "\0",
    "\1",
    "\2",
)  # replacement of markup: nothing within a word, a space, the end of a sentence

_PIECE = re.compile(
    r"<!--|<!\[CDATA\[|\]\]>|<[!?][a-zA-Z]|<(?P<close>/?)(?P<name>[a-zA-Z][\w:.-]*+)(?:(?P<rest>[^<>\"']*+"
    r"(?:(?:\"[^\"<]*+\"|'[^'<]*+')[^<>\"']*+)*+>))?|>"
)
_ENTITY = re.compile(r"&(?:#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6})|[a-zA-Z][a-zA-Z0-9]{1,31});")
_WHITE_SPACE = re.compile(rf"[\s{_INSIDE}{_APART}{_BREAK}]+")
_GAP = re.compile(rf" ?[{_INSIDE}{_APART}{_BREAK}][ {_INSIDE}{_APART}{_BREAK}]*+")


def plain_text(text: str) -> tuple[str, tuple[str, ...]]:
    """Return `text` without markup, and the removed markup.

    Two blocks with text (paragraphs, list items, rows) are separated by a full stop if the first has no final
    punctuation. An inline tag within a word is removed; any other tag becomes a space. Markup that is escaped as
    entities (`&lt;p&gt;`), as in feeds, is removed too. Entities are decoded once: `&amp;lt;` becomes `&lt;`.
    """
    text, tags = _without_tags(text)
    text, entities = _decoded(text)
    if entities:
        text, escaped_tags = _without_tags(text)
        return text, (*tags, *entities, *escaped_tags)
    return text, tags


def _without_tags(text: str) -> tuple[str, tuple[str, ...]]:
    removed = _markup(text)
    if not removed:
        return text, ()
    parts, position = [], 0
    for begin, end, mark in removed:
        parts += [_WHITE_SPACE.sub(" ", text[position:begin]), mark]
        position = end
    marked = "".join((*parts, _WHITE_SPACE.sub(" ", text[position:])))
    plain = _GAP.sub(lambda gap: _between(marked, gap), marked)
    return plain, tuple(text[begin:end] for begin, end, _ in removed)


def _markup(text: str) -> list[tuple[int, int, str]]:
    """Return the begin, end and replacement mark of each piece of markup, in order, without nesting."""
    found: list[tuple[int, int, str]] = []
    opened: list[tuple[int, str]] = []  # tags without a direct end: unpaired quotes, or `<` inside
    position = 0
    while match := _PIECE.search(text, position):
        begin, position = match.span()
        piece, name = match[0], (match["name"] or "").lower()
        if piece == ">":
            if not opened:
                continue
            begin, mark = opened.pop()
        elif piece == "<!--":
            mark, position = _APART, _end(text, "-->", position)
        elif not name and piece[-1].isalpha():  # <!doctype, <?xml
            mark, position = _APART, _end(text, ">", position)
        elif not name:
            mark = _APART
        elif not match["close"] and name not in _NAMES and not re.search("[:-]", name):
            position = match.end("name")  # not a tag: continue after its name
            continue
        elif match["rest"] is None:
            opened.append((begin, _mark(name)))
            continue
        elif name in _HIDDEN and not match["close"]:
            closing = re.compile(rf"</{name}\s*+>", re.IGNORECASE).search(text, position)
            mark, position = _APART, closing.end() if closing else len(text)
        else:
            mark = _mark(name)
        while found and found[-1][0] >= begin:
            found.pop()
        found.append((begin, position, mark))
    return found


def _mark(name: str) -> str:
    return _BREAK if name in _BLOCKS else _APART if name in _SPACES else _INSIDE


def _end(text: str, closing: str, position: int) -> int:
    end = text.find(closing, position)
    return end + len(closing) if end >= 0 else len(text)


def _between(text: str, gap: re.Match[str]) -> str:
    """Return the replacement of consecutive markup and white space."""
    begin, end = gap.span()
    if not begin or end == len(text):
        return ""
    left, right = text[begin - 1], text[end]
    if _BREAK in gap[0]:
        return ". " if left.isalnum() or left in "%)\"'" else " "
    return "" if set(gap[0]) == {_INSIDE} and left.isalnum() and (right.isalnum() or right in ".,;:!?)") else " "


def _decoded(text: str) -> tuple[str, tuple[str, ...]]:
    found: list[str] = []

    def decode(match: re.Match[str]) -> str:
        entity = match[0]
        if entity[1] != "#" and entity[1:] not in html5:
            return entity
        found.append(entity)
        return html.unescape(entity)

    return (_ENTITY.sub(decode, text), tuple(found)) if "&" in text else (text, ())
