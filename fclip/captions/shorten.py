"""Captions cut to a model's context here, so that its tokenizer cuts none: by clauses, then words; the head stays."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import regex

TokenCounter = Callable[[Sequence[str]], list[int]]
"""The number of tokens of each text, untruncated, those for start and end included."""

TEXTS_AT_ONCE = 4096
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces
_UNIT = regex.compile(rf"[{_UNSPACED}](?:[\p{{M}}\p{{P}}ー々])*|[^\s{_UNSPACED}]+")
_ENDS_A_CLAUSE = re.compile(r"[.!?;:,。！？；：，、)\]]$")  # noqa: RUF001
_BEGINS_A_CLAUSE = re.compile(r"[(\[]|[-–—|/•·]+$")
_AROUND = regex.compile(r"^[^\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+$")
_DANGLING = re.compile(r"(?:\s[&+]+|[\s,;:/|(\[–—-])+$")


@dataclass(frozen=True)
class Draft:
    """A caption before its length is known.

    Attributes:
        ends: where the values in it end.
        head: what the product is; it stays where the caption says it.
    """

    text: str
    ends: tuple[int, ...] = ()
    head: str = ""


@dataclass(frozen=True)
class ShortenedCaption:
    """A caption that fits: its tokens with those for start and end, and whether something was left out for it."""

    text: str
    num_tokens: int
    shortened: bool


def shorten(
    drafts: Sequence[Draft], *, count_tokens: TokenCounter, context_length: int
) -> dict[Draft, ShortenedCaption | None]:
    """Every draft in at most `context_length` tokens; None where not one word of it fits.

    A longer one keeps the most of its leading clauses that fit (a clause ends at a value's end or at punctuation), and
    where not even the first does, the most of its leading words; the words of the head stay in either case, wherever
    they stand. In scripts without spaces a character counts as a word.
    """
    distinct = list(dict.fromkeys(drafts))
    # As many words as there may be tokens are too many with start and end: not worth counting.
    maybe = [draft for draft in distinct if draft.text.count(" ") < context_length]
    counts = _count([draft.text for draft in maybe], count_tokens)
    fitted: dict[Draft, ShortenedCaption | None] = {
        draft: ShortenedCaption(draft.text, number, False)
        for draft, number in zip(maybe, counts, strict=True)
        if number <= context_length
    }
    long = [_Cutter(draft) for draft in distinct if draft not in fitted]
    for options in (_Cutter.clauses, _Cutter.words, _Cutter.words_without_head):
        left = [cutter for cutter in long if fitted.get(cutter.draft) is None]
        found = _longest([(cutter, options(cutter, context_length)) for cutter in left], count_tokens, context_length)
        fitted |= {cutter.draft: best for cutter, best in zip(left, found, strict=True)}
    return fitted


@dataclass(frozen=True)
class _Option:
    """The first `num_units` of a text, and those of the head."""

    num_units: int
    with_head: bool = True


@dataclass(frozen=True)
class _Cutter:
    draft: Draft

    @cached_property
    def units(self) -> list[tuple[int, int]]:
        """Where each word begins and ends."""
        return _spans(self.draft.text)

    @cached_property
    def head(self) -> tuple[int, int]:
        """The units of the head's first occurrence, as a range; empty where the text does not say it."""
        sought = [_key(self.draft.head[begin:end]) for begin, end in _spans(self.draft.head)]
        keys = [_key(self.draft.text[begin:end]) for begin, end in self.units]
        for begin in range(len(keys) - len(sought) + 1) if any(sought) else ():
            if keys[begin : begin + len(sought)] == sought:
                return begin, begin + len(sought)
        return 0, 0

    def clauses(self, limit: int) -> list[_Option]:
        text, ends = self.draft.text, set(self.draft.ends)
        last = [
            number
            for number, (begin, end) in enumerate(self.units[:limit], start=1)
            if number < len(self.units)
            and (
                end in ends
                or _ENDS_A_CLAUSE.search(text[begin:end])
                or _BEGINS_A_CLAUSE.match(text[slice(*self.units[number])])
            )
        ]
        return [_Option(number) for number in last]

    def words(self, limit: int) -> list[_Option]:
        first = 0 if self.head[1] else 1
        return [_Option(number) for number in range(first, min(limit, len(self.units)) + 1)]

    def words_without_head(self, limit: int) -> list[_Option]:
        return [_Option(number, with_head=False) for number in range(1, min(limit, len(self.units)) + 1)]

    def cut(self, option: _Option) -> str:
        text = self.draft.text
        kept = _DANGLING.sub("", text[: self.units[option.num_units - 1][1]]) if option.num_units else ""
        begin, end = self.head
        rest = range(max(begin, option.num_units), end) if option.with_head else range(0)
        if not rest:
            return kept
        return f"{kept} {_bare(text[self.units[rest[0]][0] : self.units[rest[-1]][1]])}".strip()


def _longest(
    options: Sequence[tuple[_Cutter, Sequence[_Option]]], count_tokens: TokenCounter, context_length: int
) -> list[ShortenedCaption | None]:
    """Of each cutter's options, from short to long, the longest that fits: a binary search for all of them at once."""
    best: list[ShortenedCaption | None] = [None] * len(options)
    low = [0] * len(options)
    high = [len(own) - 1 for _, own in options]
    while active := [number for number in range(len(options)) if low[number] <= high[number]]:
        middle = {number: (low[number] + high[number]) // 2 for number in active}
        texts = [options[number][0].cut(options[number][1][middle[number]]) for number in active]
        for number, text, num_tokens in zip(active, texts, _count(texts, count_tokens), strict=True):
            if num_tokens <= context_length:
                low[number] = middle[number] + 1
                best[number] = ShortenedCaption(text, num_tokens, True) if re.search(r"[^\W_]", text) else best[number]
            else:
                high[number] = middle[number] - 1
    return best


def _spans(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _UNIT.finditer(text)]


def _bare(words: str) -> str:
    """Words without the punctuation around them, which is of a clause that was left out; brackets in them closed."""
    bare = _AROUND.sub("", words)
    return f"{bare})" if bare.count("(") > bare.count(")") else bare


@lru_cache(maxsize=2**16)
def _key(word: str) -> str:
    """What words of a head are compared by: letters and digits, in any case, without an `s` at the end."""
    letters = "".join(re.findall(r"[^\W_]", word.casefold()))
    return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def _count(texts: Sequence[str], count_tokens: TokenCounter) -> list[int]:
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    counts: dict[str, int] = {}
    for begin in range(0, len(distinct), TEXTS_AT_ONCE):
        part = distinct[begin : begin + TEXTS_AT_ONCE]
        counts.update(zip(part, count_tokens(part), strict=True))
    return [counts[text] for text in texts]


def token_counter(tokenizer: Any) -> TokenCounter:
    """A counter for one of open_clip's tokenizers: tokens with those for start and end, of each text.

    open_clip's tokenizers return what is already cut to the context; so this asks what they are made of:
    transformers' tokenizer, or the byte-pair encoder of CLIP.
    """

    def count(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        if (inner := getattr(tokenizer, "tokenizer", None)) is not None:
            encoded = inner([tokenizer.clean_fn(text) for text in texts], truncation=False, verbose=False)
            return [len(tokens) for tokens in encoded["input_ids"]]
        return [len(tokenizer.encode(text)) + 2 for text in texts]

    return count
