"""CLIP's byte-pair vocabulary in open_clip's `SimpleTokenizer` and in transformers' `CLIPTokenizer`.

They name the start and end tokens differently, and open_clip pads with 0 while transformers pads with the end token.
Neither affects a CLIP: its features are taken at the first end token, which later tokens do not influence.
"""

from typing import Any

from open_clip.tokenizer import SimpleTokenizer

SIZE = 49408
START, END = "<|startoftext|>", "<|endoftext|>"
SAMPLE = (
    "a photo of a red summer dress",
    "Women's T-Shirt, 100% Cotton (Size M/L) - don't wash at 60 degrees; EUR 49.99!",
    "Größe 38: geblümtes Kleid mit Volants, café crème #1",
    "юбка 連衣裙 👗",
    "",
)
"""Texts on which two equal tokenizers must agree. None of them is changed by open_clip's text repair (ftfy)."""


def is_clip_tokenizer(tokenizer: Any) -> bool:
    """Whether a tokenizer of transformers has CLIP's vocabulary and gives the same tokens as open_clip's tokenizer."""
    reference = SimpleTokenizer()
    first, last = reference.sot_token_id, reference.eot_token_id
    if (tokenizer.bos_token_id, tokenizer.eos_token_id) != (first, last):
        return False
    if _without_start_and_end(tokenizer.get_vocab(), reference) != _without_start_and_end(reference.encoder, reference):
        return False
    return all(tokenizer(text)["input_ids"] == [first, *reference.encode(text), last] for text in SAMPLE)


def clip_tokenizer(context_length: int) -> Any:
    """Return transformers' `CLIPTokenizer` with CLIP's vocabulary."""
    from transformers import CLIPTokenizer

    reference = SimpleTokenizer()
    vocabulary = {
        **_without_start_and_end(reference.encoder, reference),
        START: reference.sot_token_id,
        END: reference.eot_token_id,
    }
    return CLIPTokenizer(vocab=vocabulary, merges=list(reference.bpe_ranks), model_max_length=context_length)


def _without_start_and_end(vocabulary: dict[str, int], reference: SimpleTokenizer) -> dict[str, int]:
    return {
        token: number
        for token, number in vocabulary.items()
        if number not in (reference.sot_token_id, reference.eot_token_id)
    }
