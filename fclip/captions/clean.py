"""Cleaning of what a product says, by declared rules; each rule says what it took out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import regex

from fclip.captions.markup import plain_text
from fclip.config import config
from fclip.errors import UserError

SECONDS_A_TEXT = 2.0
"""A pattern that takes longer on one text backtracks without end; it is an error, so what comes out never depends."""

URL = regex.compile(
    r"(?<![A-Za-z0-9])(?:https?://|www\.)[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*(?<=[A-Za-z0-9/])"
    r"|(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z0-9]",
    regex.IGNORECASE,
)
URL_SIGNS = ("://", "@", "www.", "WWW.", "Www.")  # without any of them there is none: far quicker to see
HOLE = "\0"  # stands where something was taken out; no cleaned text has one of its own
_SEPARATORS = r"[,;:|/–—-]"
_AROUND_NOTHING = re.compile(rf"\(\s*{HOLE}[\s{HOLE}]*\)|\[\s*{HOLE}[\s{HOLE}]*\]")
_AT_THE_START = re.compile(rf"^\s*{HOLE}[\s{HOLE}]*(?:[,;:|–—.-](?=\s|$)\s*)*")
_BEFORE_PUNCTUATION = re.compile(rf"(?:\s*{_SEPARATORS})?\s*{HOLE}[\s{HOLE}]*(?=[,;:|.!?)\]]|\s*$)")
_BETWEEN_WORDS = re.compile(rf"\s*{HOLE}[\s{HOLE}]*")
_CONTROL = re.compile(r"[\0-\x1f\x7f]+")


@config
class CleaningConfig:
    """What is taken out of products' texts before they are captions. Without a rule nothing goes but white space.

    `max_chars` and `html` hold for attributes too; the others for texts alone: an attribute is a value that was chosen.
    Patterns are regular expressions of the package `regex` (Python's, and more).

    Attributes:
        max_chars: longer texts end there, at white space.
        html: tags and comments go, entities are decoded.
        urls: web and mail addresses go.
        sku: patterns of article numbers; as written, so `(?i)` where case does not matter.
        boilerplate: patterns of phrases that say nothing of the product, in any case.
    """

    max_chars: int
    html: bool
    urls: bool
    sku: list[str]
    boilerplate: list[str]

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ValueError(f"max_chars must be at least 1, not {self.max_chars}")
        for name in ("sku", "boilerplate"):
            for number, pattern in enumerate(getattr(self, name)):
                _check(f"{name}.{number}", pattern)


@dataclass(frozen=True)
class Cleaned:
    """A text as it is said, and what each rule that had something to do took out of it, by the rule's key."""

    text: str
    removed: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cleaner:
    """The rules, ready to be used."""

    max_chars: int
    html: bool
    patterns: tuple[tuple[str, "regex.Pattern[str]"], ...]

    @classmethod
    def of(cls, config: CleaningConfig) -> "Cleaner":
        return cls(config.max_chars, config.html, tuple(_patterns(config)))

    def attribute(self, value: str) -> Cleaned:
        """`value` in one line, without markup."""
        return self._clean(value, ())

    def text(self, value: str) -> Cleaned:
        """`value` in one line, by every rule.

        What is left is what every rule leaves as it is, save that entities are decoded but once.

        Raises:
            UserError: a pattern took longer than `SECONDS_A_TEXT`.
        """
        return self._clean(value, self.patterns)

    def _clean(self, value: str, patterns: tuple[tuple[str, "regex.Pattern[str]"], ...]) -> Cleaned:
        removed: dict[str, tuple[str, ...]] = {}
        text = _CONTROL.sub(" ", value)
        if self.html:
            text, markup = plain_text(text)
            if markup:
                removed["html"] = markup
        text = " ".join(_CONTROL.sub(" ", text).split())
        if len(text) > self.max_chars:
            cut = text[: self.max_chars + 1].rpartition(" ")[0] or text[: self.max_chars]
            removed["max_chars"] = (text[len(cut) :].strip(),)
            text = cut
        changed = True
        while changed:  # closing a hole may bring together what an earlier rule takes out
            changed = False
            for key, pattern in patterns:
                if pattern is URL and not any(sign in text for sign in URL_SIGNS):
                    continue
                found: list[str] = []
                text = _without(text, key, pattern, found)
                if found:
                    removed[key] = (*removed.get(key, ()), *found)
                    changed = True
        return Cleaned(text, removed)


def _without(text: str, key: str, pattern: "regex.Pattern[str]", found: list[str]) -> str:
    def take(match: "regex.Match[str]") -> str:
        found.append(match[0])
        return HOLE

    try:
        with_holes: str = pattern.sub(take, text, timeout=SECONDS_A_TEXT)
    except TimeoutError:
        raise UserError(
            f"params.yaml: caption.cleaning.{key}: the pattern {pattern.pattern!r} took longer than {SECONDS_A_TEXT:g} "
            f"s on a text of {len(text)} characters ({text[:80]!r}…): it repeats what itself repeats; write it so that "
            "each character can be matched in one way only"
        ) from None
    return close_holes(with_holes)


def _patterns(config: CleaningConfig) -> "Iterator[tuple[str, regex.Pattern[str]]]":
    if config.urls:
        yield "urls", URL
    for number, pattern in enumerate(config.boilerplate):
        yield f"boilerplate.{number}", regex.compile(pattern, regex.IGNORECASE)
    for number, pattern in enumerate(config.sku):
        yield f"sku.{number}", regex.compile(pattern)


def _check(key: str, pattern: str) -> None:
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{key} must be a regular expression, which {pattern!r} is not: {error}") from None
    if compiled.search("") or compiled.search("\n"):
        raise ValueError(f"{key} must match some text, and {pattern!r} matches where there is none")


def close_holes(text: str) -> str:
    """`text` without its holes: brackets around nothing and a separator that led to a hole go with it."""
    if HOLE not in text:
        return text
    text = _AROUND_NOTHING.sub(HOLE, text)
    text = _AT_THE_START.sub("", text)
    text = _BEFORE_PUNCTUATION.sub("", text)
    return " ".join(_BETWEEN_WORDS.sub(" ", text).split())
