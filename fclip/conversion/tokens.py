"""CLIP's byte-pair vocabulary in open_clip's `SimpleTokenizer` and in transformers' `CLIPTokenizer`.

They name the start and end tokens differently, and open_clip pads with 0 while transformers pads with the end token.
Neither affects a CLIP: its features are taken at the first end token, which later tokens do not influence.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from open_clip.tokenizer import SimpleTokenizer

from fclip.files import write_json

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


def write_tokenizer(
    tokenizer: Any,
    out_dir: Path,
    *,
    context_length: int,
    cleaning: Sequence[Mapping[str, Any]] = (),
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
) -> None:
    """Write a fast tokenizer of transformers so that its versions 4 and 5 both load it.

    Each version writes a class name that the other one may not know, but both know `PreTrainedTokenizerFast`.

    Args:
        tokenizer: has a `backend_tokenizer`.
        cleaning: normalizers of the package `tokenizers` in their JSON form, applied before the tokenizer's own.
        inputs: the model's inputs that it returns.
    """
    stored = json.loads(tokenizer.backend_tokenizer.to_str())
    own = [stored["normalizer"]] if stored["normalizer"] else []
    normalizer = {"type": "Sequence", "normalizers": [*cleaning, *own]} if cleaning else stored["normalizer"]
    write_json(out_dir / "tokenizer.json", {**stored, "normalizer": normalizer, "truncation": None, "padding": None})
    special = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "model_input_names": list(inputs),
        "padding_side": tokenizer.padding_side,
    }
    write_json(out_dir / "tokenizer_config.json", {**special, **settings})


def _without_start_and_end(vocabulary: dict[str, int], reference: SimpleTokenizer) -> dict[str, int]:
    return {
        token: number
        for token, number in vocabulary.items()
        if number not in (reference.sot_token_id, reference.eot_token_id)
    }
