"""Tokens of the runtime, compared with open_clip's tokenizers."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer, _clean_canonicalize, _clean_lower, _clean_whitespace

from fclip.conversion.tokens import clip_tokenizer
from fclip.errors import UserError
from fclip.runtime.manifest import TextInput
from fclip.runtime.texts import TextEncoder, clean

CLEANINGS = {"whitespace": _clean_whitespace, "lower": _clean_lower, "canonicalize": _clean_canonicalize}
CLIP = TextInput(context_length=20, pad_id=0, is_fixed_length=True, cleaning="lower")
TEXTS = st.text(max_size=60) | st.text("abc XYZ&<>;#12'\"-_\t\néÉß\u2019ﬁ…", max_size=60)


def settings(cleaning: str) -> TextInput:
    return TextInput(context_length=20, pad_id=0, is_fixed_length=True, cleaning=cleaning)


@pytest.mark.parametrize("cleaning", sorted(CLEANINGS))
@given(TEXTS)
@example("Marks &amp; Spencer &lt;3")
@example("schÃ¶n, women\u2019s ﬁne")
@example("  a_b \n c.\x1b[31m ")
def test_cleaning_equals_open_clips(cleaning: str, text: str) -> None:
    assert clean(text, settings(cleaning)) == CLEANINGS[cleaning](text)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder(clip_tokenizer(CLIP.context_length).backend_tokenizer.to_str().encode(), CLIP)


@given(texts=st.lists(st.text("abcdefgh XYZ12'é.,!-/&%€ß", max_size=80), min_size=1, max_size=3))
def test_clip_tokens_equal_open_clips(encoder: TextEncoder, texts: list[str]) -> None:
    found = encoder.pad(encoder.encode(texts))
    expected = SIMPLE(texts).numpy()
    np.testing.assert_array_equal(found, expected)


SIMPLE = SimpleTokenizer(context_length=CLIP.context_length)


def test_texts_of_a_batch_are_padded_to_the_longest(encoder: TextEncoder) -> None:
    flexible = TextEncoder(
        clip_tokenizer(20).backend_tokenizer.to_str().encode(),
        TextInput(20, 7, is_fixed_length=False, cleaning="lower"),
    )
    padded = flexible.pad(flexible.encode(["a", "a red dress"]))
    assert padded.shape == (2, 5)
    assert padded[0].tolist()[-2:] == [7, 7]
    assert flexible.pad([]).shape == (0, 1)


@pytest.mark.parametrize(("text", "message"), [("x" * 100_001, "100001 characters"), (5, "is int, not a string")])
def test_invalid_texts_are_named(encoder: TextEncoder, text: object, message: str) -> None:
    with pytest.raises(UserError, match=f"text 1 .*{message}"):
        encoder.encode(["fine", text])  # type: ignore[list-item]


def test_a_lone_surrogate_is_no_error(encoder: TextEncoder) -> None:
    assert encoder.encode(["bad \ud800 text"])[0]


def test_a_damaged_tokenizer_is_a_user_error() -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        TextEncoder(b"{}", CLIP)
