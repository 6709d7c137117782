"""From texts to tokens, as open_clip's tokenizers make them, with the library `tokenizers`."""

import html
import re
import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fclip.errors import UserError
from fclip.runtime.manifest import TextInput

MAX_CHARS = 100_000  # of a text; a tower reads at most a few hundred tokens
_PLAIN = re.compile(r"[\t\n\r -%'-~]*\Z")  # printable ASCII without `&`, which neither ftfy nor html changes
_PUNCTUATION = str.maketrans("", "", string.punctuation)


class TextEncoder:
    """Makes tokens of texts for one model."""

    def __init__(self, tokenizer_json: bytes, settings: TextInput) -> None:
        """Raises UserError if the content of tokenizer.json is not valid."""
        try:
            self._tokenizer = Tokenizer.from_buffer(tokenizer_json)
        except Exception as error:  # tokenizers raises the bare class
            raise UserError(f"the tokenizer of the model cannot be loaded ({error}); export the model again") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.context_length)
        self._settings = settings

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without padding; raises UserError as `require_texts` does."""
        require_texts(texts)
        cleaned = [clean(text, self._settings) for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cleaned)]

    def pad(self, tokens: Sequence[list[int]]) -> NDArray[np.int64]:
        """Return tokens as int64 [n, length], filled to the longest text or, if the model needs it, to the context."""
        settings = self._settings
        length = settings.context_length if settings.is_fixed_length else max(map(len, tokens), default=1)
        padded = np.full((len(tokens), max(length, 1)), settings.pad_id, np.int64)
        for row, ids in zip(padded, tokens, strict=True):
            row[: len(ids)] = ids
        return padded


def require_texts(texts: Sequence[str]) -> None:
    """Raise UserError for a text that is too long or not a string; it is named by its index."""
    if isinstance(texts, str):
        raise UserError("texts must be a list of strings, not one string")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise UserError(f"text {index} is {type(text).__name__}, not a string")
        if len(text) > MAX_CHARS:
            raise UserError(f"text {index} has {len(text)} characters; at most {MAX_CHARS} are accepted")


def clean(text: str, settings: TextInput) -> str:
    """Repair a text and put it on one line, as open_clip's tokenizers do."""
    if not _PLAIN.match(text):
        import ftfy  # takes a moment to import, and plain texts do not need it

        # open_clip's tokenizers encode each text alone, so a lone surrogate, which no tokenizer takes, is replaced.
        text = html.unescape(html.unescape(ftfy.fix_text(text.encode("utf-8", "replace").decode("utf-8"))))
    match settings.cleaning:
        case "lower":
            return " ".join(text.split()).lower()
        case "canonicalize":
            return " ".join(text.strip().replace("_", " ").translate(_PUNCTUATION).lower().split())
        case _:
            return " ".join(text.split())
