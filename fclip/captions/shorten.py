"""Shorten captions to a model's context, so that its tokenizer truncates none: by clauses, then by words."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import regex

TokenCounter = Callable[[Sequence[str]], list[int]]
"""Returns the number of tokens of each text, without truncation, including the start and end tokens."""

TEXTS_AT_ONCE = 4096
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"  # scripts without spaces
_UNIT = regex.compile(rf"[{_UNSPACED}](?:[\p{{M}}\p{{P}}ー々])*|[^\s{_UNSPACED}]+")
_ENDS_A_CLAUSE = re.compile(r"[.!?;:,。！？；：，、)\]]$")  # noqa: RUF001
_BEGINS_A_CLAUSE = re.compile(r"[(\[]|[-–—|/•·]+$")
_AROUND = regex.compile(r"^[^\p{L}\p{M}\p{N}]+|[^\p{L}\p{M}\p{N}]+$")
_DANGLING = re.compile(r"(?:\s[&+]+|[\s,;:/|(\[–—-])+$")


@dataclass(frozen=True)
class CaptionDraft:
    """A caption before it is shortened.

    Attributes:
        ends: the end positions of the values in the text.
        head: the name of the product's category; its words are kept if the text contains them.
    """

    text: str
    ends: tuple[int, ...] = ()
    head: str = ""


@dataclass(frozen=True)
class ShortenedCaption:
    """A caption that fits the context: its tokens, including start and end, and whether it was shortened."""

    text: str
    num_tokens: int
    shortened: bool


def shorten(
    drafts: Sequence[CaptionDraft], *, count_tokens: TokenCounter, context_length: int
) -> dict[CaptionDraft, ShortenedCaption | None]:
    """Shorten each draft to at most `context_length` tokens; None if not even one word fits.

    A long draft keeps as many leading clauses as fit; a clause ends at the end of a value or at punctuation. If not
    even the first clause fits, it keeps as many leading words as fit. The words of the head are kept in both cases,
    wherever they are in the text. In scripts without spaces each character counts as a word.
    """
    distinct = list(dict.fromkeys(drafts))
    # Texts with at least `context_length` words cannot fit, since there are start and end tokens: not counted.
    maybe = [draft for draft in distinct if draft.text.count(" ") < context_length]
    counts = _count([draft.text for draft in maybe], count_tokens)
    fitted: dict[CaptionDraft, ShortenedCaption | None] = {
        draft: ShortenedCaption(draft.text, number, False)
        for draft, number in zip(maybe, counts, strict=True)
        if number <= context_length
    }
    long = [_Cutter(draft) for draft in distinct if draft not in fitted]
    for options in (_Cutter.clauses, _Cutter.words, _Cutter.words_without_head):
        remaining = [cutter for cutter in long if fitted.get(cutter.draft) is None]
        cutter_options = [(cutter, options(cutter, context_length)) for cutter in remaining]
        shortened = _longest(cutter_options, count_tokens, context_length)
        fitted |= {cutter.draft: best for cutter, best in zip(remaining, shortened, strict=True)}
    return fitted


@dataclass(frozen=True)
class _Option:
    """A way to cut a text: the first `num_units` words and, optionally, the words of the head."""

    num_units: int
    with_head: bool = True


@dataclass(frozen=True)
class _Cutter:
    draft: CaptionDraft

    @cached_property
    def units(self) -> list[tuple[int, int]]:
        """The begin and end of each word."""
        return _spans(self.draft.text)

    @cached_property
    def head(self) -> tuple[int, int]:
        """The range of words of the head's first occurrence; empty if the text does not contain it."""
        head_keys = [_key(self.draft.head[begin:end]) for begin, end in _spans(self.draft.head)]
        keys = [_key(self.draft.text[begin:end]) for begin, end in self.units]
        for begin in range(len(keys) - len(head_keys) + 1) if any(head_keys) else ():
            if keys[begin : begin + len(head_keys)] == head_keys:
                return begin, begin + len(head_keys)
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
    """Return the longest fitting option of each cutter. Options are ascending; one bisection serves all cutters."""
    best: list[ShortenedCaption | None] = [None] * len(options)
    low = [0] * len(options)
    high = [len(cutter_options) - 1 for _, cutter_options in options]
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
    """Remove the punctuation around words, which belongs to a removed clause, and close an open bracket."""
    bare = _AROUND.sub("", words)
    return f"{bare})" if bare.count("(") > bare.count(")") else bare


@lru_cache(maxsize=2**16)
def _key(word: str) -> str:
    """Return the key by which words are compared with the head: lower-case letters and digits, no final `s`."""
    letters = "".join(re.findall(r"[^\W_]", word.casefold()))
    return letters[:-1] if len(letters) > 3 and letters.endswith("s") else letters


def _count(texts: Sequence[str], count_tokens: TokenCounter) -> list[int]:
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    counts: dict[str, int] = {}
    for begin in range(0, len(distinct), TEXTS_AT_ONCE):
        part = distinct[begin : begin + TEXTS_AT_ONCE]
        counts.update(zip(part, count_tokens(part), strict=True))
    return [counts[text] for text in texts]
