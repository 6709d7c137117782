"""CLIP's byte-pair vocabulary, as open_clip's `SimpleTokenizer` has it and as transformers' `CLIPTokenizer` does.

Both name the tokens for start and end of a text differently, and open_clip pads with 0 where transformers pads with
the end: a CLIP sees neither, since its features are taken at the first end, and nothing after that reaches them.
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
"""Texts on which two tokenizers must agree to be one. None needs the repairs that open_clip's makes (ftfy)."""


def is_clips(tokenizer: Any) -> bool:
    """Whether a tokenizer of transformers has CLIP's vocabulary, and cuts texts as open_clip's own does."""
    own = SimpleTokenizer()
    first, last = own.sot_token_id, own.eot_token_id
    if (tokenizer.bos_token_id, tokenizer.eos_token_id) != (first, last):
        return False
    if _without_ends(tokenizer.get_vocab(), own) != _without_ends(own.encoder, own):
        return False
    return all(tokenizer(text)["input_ids"] == [first, *own.encode(text), last] for text in SAMPLE)


def clips(context_length: int) -> Any:
    """transformers' `CLIPTokenizer` with CLIP's vocabulary."""
    from transformers import CLIPTokenizer

    own = SimpleTokenizer()
    vocabulary = {**_without_ends(own.encoder, own), START: own.sot_token_id, END: own.eot_token_id}
    return CLIPTokenizer(vocab=vocabulary, merges=list(own.bpe_ranks), model_max_length=context_length)


def _without_ends(vocabulary: dict[str, int], own: SimpleTokenizer) -> dict[str, int]:
    return {token: n for token, n in vocabulary.items() if n not in (own.sot_token_id, own.eot_token_id)}
