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
            f"params.yaml: caption.cleaning.{key}: the pattern {pattern.pattern!r} took longer than "
            f"{PATTERN_TIMEOUT_S:g} s on a text of {len(text)} characters ({text[:80]!r}…); it has nested repetitions. "
            "Rewrite it so that each character can match in only one way"
        ) from None
    return close_gaps(with_marks)


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
