"""How many tokens a text is, untruncated, by the tokenizer of a model."""

from collections.abc import Callable, Sequence
from typing import Any

TokenCounter = Callable[[Sequence[str]], list[int]]


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
