"""Shortening: fitting captions stay unchanged, long ones keep their head and end between words."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from fclip.captions.shorten import CaptionDraft, ShortenedCaption, shorten
from fclip.captions.token_counts import token_counter


def per_letter(texts: Sequence[str]) -> list[int]:
    """Count one token per character except spaces, plus two for start and end."""
    return [2 + len("".join(text.split())) for text in texts]


def per_word(texts: Sequence[str]) -> list[int]:
    return [2 + len(text.split()) for text in texts]


def cut(text: str, limit: int, *, head: str = "", ends: tuple[int, ...] = ()) -> str | None:
    draft = CaptionDraft(text, ends, head)
    fitted = shorten([draft], count_tokens=per_word, context_length=limit + 2)[draft]
    assert fitted is None or fitted.num_tokens == per_word([fitted.text])[0] <= limit + 2
    assert fitted is None or fitted.shortened == (fitted.text != text)
    return fitted and fitted.text


@pytest.mark.parametrize(
    ("text", "limit", "head", "short"),
    [
        ("red coat", 2, "", "red coat"),
        ("red coat, with buttons, and pockets", 4, "", "red coat, with buttons"),
        ("red coat, with buttons, and pockets", 3, "", "red coat"),
        ("Red coat. It has buttons and pockets.", 5, "", "Red coat."),
        ("red coat (with buttons)", 3, "", "red coat"),
        ("red coat - with buttons", 3, "", "red coat"),
        ("a very long red coat, warm", 3, "", "a very long"),
        ("a very long red coat, warm", 3, "coat", "a very coat"),
        ("a very long red coat, warm", 1, "Coats", "coat"),
        ("soft, warm, new, red rain coat", 3, "rain coat", "soft rain coat"),
        ("soft, warm, new, red rain coat", 1, "rain coat", "soft"),
        ("soft, warm, coat", 2, "trousers", "soft, warm"),
        ("white T-shirt with a print", 2, "Tshirts", "white T-shirt"),
        ("上質な赤いコート。暖かい。", 0, "", None),
    ],
)
def test_clauses_are_removed_before_words_and_the_head_stays(
    text: str, limit: int, head: str, short: str | None
) -> None:
    assert cut(text, limit, head=head) == short


def test_end_of_a_value_ends_a_clause() -> None:
    assert cut("red coat warm with buttons", 4, ends=(8, 26)) == "red coat"


def test_scripts_without_spaces_are_cut_between_characters() -> None:
    text = "上質な赤いコート。暖かい冬用です"
    draft = CaptionDraft(text, (), "コート")
    for limit, expected in ((18, text), (12, "上質な赤いコート。"), (8, "上質な コート"), (5, "コート")):
        fitted = shorten([draft], count_tokens=per_letter, context_length=limit)[draft]
        assert fitted is not None
        assert fitted.text == expected


def test_word_that_does_not_fit_is_left_out_whole() -> None:
    drafts = [CaptionDraft("unbreakable"), CaptionDraft("red unbreakable")]
    fitted = shorten(drafts, count_tokens=per_letter, context_length=8)
    assert fitted == {drafts[0]: None, drafts[1]: ShortenedCaption("red", 5, True)}


def test_texts_are_counted_in_batches() -> None:
    calls: list[int] = []

    def counted(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return per_word(texts)

    drafts = [CaptionDraft(f"coat {number} " + "very " * 200 + "warm") for number in range(500)] * 2
    shorten(drafts, count_tokens=counted, context_length=20)
    assert calls[0] == 500
    assert len(calls) < 12


WORDS = st.sampled_from(
    ["red", "coat", "T-shirt", "with", "buttons", "(new)", "-", "warm,", "soft.", "été", "上質な", "&"]
)
CLIP_TOKENS = token_counter(SimpleTokenizer())
TEXTS = st.lists(WORDS | st.text("abÉß漢ก. ,", min_size=1, max_size=8), min_size=1, max_size=30).map(" ".join)


@example("red soft.", "soft", 3, True)
@given(TEXTS, st.sampled_from(["coat", "T-shirts", "red coat", "soft", ""]), st.integers(3, 20), st.booleans())
def test_shortened_captions_are_prefixes_with_the_head(text: str, head: str, context_length: int, clip: bool) -> None:
    text = " ".join(text.split())
    count = CLIP_TOKENS if clip else per_word
    draft = CaptionDraft(text, (), head)
    fitted = shorten([draft], count_tokens=count, context_length=context_length)[draft]
    if count([text])[0] <= context_length:
        assert fitted == ShortenedCaption(text, count([text])[0], False)
        return
    if fitted is None:
        first = next(word for word in re.findall(r"\S+", text))
        assert count([first])[0] > context_length or not any(map(str.isalnum, first)) or not first.isascii()
        return
    assert fitted.shortened
    assert fitted.num_tokens == count([fitted.text])[0] <= context_length
    spaced = [re.sub(r"([漢ก上質な])", r" \1 ", each).split() for each in (text, fitted.text)]
    whole, kept = ([bare for word in words if (bare := word.strip(" ,;:/|([–—-."))] for words in spaced)
    remaining = iter(whole)
    assert all(word in remaining for word in kept)  # whole words of the text, in the same order
    if head in ("coat", "soft") and head in whole and count([head])[0] <= context_length:
        assert head in kept
