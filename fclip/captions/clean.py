"""Clean the texts of products by configured rules, and record the parts that each rule removed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import regex

from fclip.captions.markup import plain_text
from fclip.config import config
from fclip.errors import UserError

PATTERN_TIMEOUT_S = 2.0
"""Time limit of a pattern per text. Exceeding it is an error, so that the result never depends on the time taken."""

URL = regex.compile(
    r"(?<![A-Za-z0-9])(?:https?://|www\.)[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]*(?<=[A-Za-z0-9/])"
    r"|(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]++@[A-Za-z0-9-]+\.[A-Za-z0-9.-]*[A-Za-z0-9]",
    regex.IGNORECASE,
)
URL_SIGNS = ("://", "@", "www.", "WWW.", "Www.")  # a text without these has no URL; this check is fast
REMOVED = "\0"  # placeholder for removed text; input texts cannot contain it
_SEPARATORS = r"[,;:|/–—-]"
_AROUND_NOTHING = re.compile(rf"\(\s*{REMOVED}[\s{REMOVED}]*\)|\[\s*{REMOVED}[\s{REMOVED}]*\]")
_AT_THE_START = re.compile(rf"^\s*{REMOVED}[\s{REMOVED}]*(?:[,;:|–—.-](?=\s|$)\s*)*")
_BEFORE_PUNCTUATION = re.compile(rf"(?:\s*{_SEPARATORS})?\s*{REMOVED}[\s{REMOVED}]*(?=[,;:|.!?)\]]|\s*$)")
_BETWEEN_WORDS = re.compile(rf"\s*{REMOVED}[\s{REMOVED}]*")
_CONTROL = re.compile(r"[\0-\x1f\x7f]+")


SKU_PATTERNS = (
    # A number that the text names as one: "SKU: 40-A1", "Style no. 7731", "EAN 4006381333931".
    r"(?i)\b(?:sku|ean|upc|gtin|mpn|(?:item|article|art|style|product|model|ref)\.?\s?(?:no\b|nr\b|number|code|#))"
    r"[\s.:#]*(?=[\w-]*\d)\w(?:[\w/-]*\w)?",
    # Eight or more capitals and digits, with letters before and after three digits in a row: "PL12698JSU",
    # "LTP-2069D-2A2VDF"; without a year ("SS2012DROP") or a measure ("EDT-1000ML") in it.
    r"(?<![^\s(])(?=(?:[A-Z-]*\d){4})(?=[A-Z\d-]*[A-Z][A-Z\d-]*\d{3}[A-Z])"
    r"(?![A-Z\d-]*\d(?:ML|[CM]?M|K?G|[LW]|MAH|DEN)(?![A-Z]))(?!(?:[A-Z\d-]*\D)?(?:19[5-9]|20[0-3])\d(?!\d))"
    r"[A-Z\d-]{8,}(?![^\s),;.])",
    # A bar code.
    r"(?<![\w-])\d{12,14}(?![\w-])",
)
"""Article numbers that can be nothing else: sizes, years, words, "501" and "T90" stay."""
BOILERPLATE = (
    r"\bfree (?:shipping|delivery|returns)\b(?: on all orders)?[.!]?",
    r"\bmodel is [\d.,]+ ?(?:cm|m|ft)\b(?: tall)?(?: and wears (?:a )?(?:size )?\w+)?\.?",
    r"\border your usual size\.?",
)
"""Phrases of many shops that do not describe the product."""


@config
class CleaningConfig:
    """What is removed from the texts of products before templates are filled.

    Only `max_chars` and `html` apply to attributes too. Patterns are regular expressions of the package `regex` (those
    of Python, and more).
    """

    max_chars: int = 10_000
    """Longer texts are cut at white space, to this number of characters."""
    html: bool = True
    """Remove tags and comments, and decode entities."""
    urls: bool = True
    """Remove web and mail addresses."""
    sku: tuple[str, ...] = SKU_PATTERNS
    """Regular expressions of article numbers to remove; upper and lower case differ unless a pattern starts with (?i).
    A list replaces the default patterns; []: remove none."""
    boilerplate: tuple[str, ...] = BOILERPLATE
    """Regular expressions of phrases that do not describe the product, in upper or lower case. A list replaces the
    default patterns; []: remove none."""
    phrases: tuple[str, ...] = ()
    """More such phrases, of this shop, in addition to `boilerplate`: plain text or regular expressions."""

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ValueError(f"max_chars must be at least 1, not {self.max_chars}")
        for name in ("sku", "boilerplate", "phrases"):
            for number, pattern in enumerate(getattr(self, name)):
                _check(f"{name}.{number}", pattern)


@dataclass(frozen=True)
class CleanedText:
    """A cleaned text, and the parts that each rule removed, by the rule's key."""

    text: str
    removed: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cleaner:
    """The compiled cleaning rules."""

    max_chars: int
    html: bool
    patterns: tuple[tuple[str, "regex.Pattern[str]"], ...]

    @classmethod
    def from_config(cls, config: CleaningConfig) -> "Cleaner":
        return cls(config.max_chars, config.html, tuple(_patterns(config)))

    def attribute(self, value: str) -> CleanedText:
        """Clean an attribute: put it on one line, without markup, at most `max_chars` long."""
        return self._clean(value, ())

    def text(self, value: str) -> CleanedText:
        """Clean a text by every rule and put it on one line.

        Rules are applied until none changes the text. Only entities are decoded just once.

        Raises:
            UserError: a pattern takes longer than `PATTERN_TIMEOUT_S`.
        """
        return self._clean(value, self.patterns)

    def _clean(self, value: str, patterns: tuple[tuple[str, "regex.Pattern[str]"], ...]) -> CleanedText:
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
        while changed:  # a removal may join parts that an earlier rule matches
            changed = False
            for key, pattern in patterns:
                if pattern is URL and not any(sign in text for sign in URL_SIGNS):
                    continue
                matches: list[str] = []
                text = _without(text, key, pattern, matches)
                if matches:
                    removed[key] = (*removed.get(key, ()), *matches)
                    changed = True
        return CleanedText(text, removed)


def _without(text: str, key: str, pattern: "regex.Pattern[str]", matches: list[str]) -> str:
    def take(match: "regex.Match[str]") -> str:
        matches.append(match[0])
        return REMOVED

    try:
        with_marks: str = pattern.sub(take, text, timeout=PATTERN_TIMEOUT_S)
    except TimeoutError:
        raise UserError(
            f"params.yaml: caption.settings.cleaning.{key}: the pattern {pattern.pattern!r} took longer than "
            f"{PATTERN_TIMEOUT_S:g} s on a text of {len(text)} characters ({text[:80]!r}…); it has nested repetitions. "
            "Rewrite it so that each character can match in only one way"
        ) from None
    return close_gaps(with_marks)


def _patterns(config: CleaningConfig) -> "Iterator[tuple[str, regex.Pattern[str]]]":
    if config.urls:
        yield "urls", URL
    for name, patterns in (("boilerplate", config.boilerplate), ("phrases", config.phrases)):
        for number, pattern in enumerate(patterns):
            yield f"{name}.{number}", regex.compile(pattern, regex.IGNORECASE)
    for number, pattern in enumerate(config.sku):
        yield f"sku.{number}", regex.compile(pattern)


def _check(key: str, pattern: str) -> None:
    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"{key} must be a regular expression, not {pattern!r} ({error})") from None
    if compiled.search("") or compiled.search("\n"):
        raise ValueError(f"{key} must not match the empty text, as {pattern!r} does")


def close_gaps(text: str) -> str:
    """Remove the placeholders of removed text, together with empty brackets and separators before them."""
    if REMOVED not in text:
        return text
    text = _AROUND_NOTHING.sub(REMOVED, text)
    text = _AT_THE_START.sub("", text)
    text = _BEFORE_PUNCTUATION.sub("", text)
    return " ".join(_BETWEEN_WORDS.sub(" ", text).split())
