"""Taking something out of a text, with the punctuation that would be left dangling around it."""

import re

HOLE = "\0"  # stands where something was taken out; no cleaned text has one of its own

_SEPARATORS = r"[,;:|/–—-]"
_AROUND_NOTHING = re.compile(rf"\(\s*{HOLE}[\s{HOLE}]*\)|\[\s*{HOLE}[\s{HOLE}]*\]")
_AT_THE_START = re.compile(rf"^\s*{HOLE}[\s{HOLE}]*(?:[,;:|–—.-](?=\s|$)\s*)*")
_BEFORE_PUNCTUATION = re.compile(rf"(?:\s*{_SEPARATORS})?\s*{HOLE}[\s{HOLE}]*(?=[,;:|.!?)\]]|\s*$)")
_BETWEEN_WORDS = re.compile(rf"\s*{HOLE}[\s{HOLE}]*")


def close_holes(text: str) -> str:
    """`text` without its holes: brackets around nothing and a separator that led to a hole go with it."""
    if HOLE not in text:
        return text
    text = _AROUND_NOTHING.sub(HOLE, text)
    text = _AT_THE_START.sub("", text)
    text = _BEFORE_PUNCTUATION.sub("", text)
    return " ".join(_BETWEEN_WORDS.sub(" ", text).split())
