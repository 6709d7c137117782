"""Numbers of tokens of texts, as the tokenizer of a model folder makes them, without torch and open_clip.

Two kinds of tokenizer are built from their files alone, with the library `tokenizers`: CLIP's, which is part of
open_clip, and BERT's in transformers' format. Others are loaded as the model loads them, which takes seconds longer.
"""

import gzip
import html
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import ftfy
import regex
from tokenizers import Tokenizer, models, pre_tokenizers

from fclip.captions.shorten import TokenCounter
from fclip.models.folder import read_config

CLIP_VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
CLIP_MERGES = slice(1, 49152 - 256 - 2 + 1)  # of the lines of the file
CLIP_SPECIAL = ("<start_of_text>", "<end_of_text>")
WORD_END = "</w>"
CLIP_PIECE = regex.compile(
    "|".join([*CLIP_SPECIAL, r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"]), regex.IGNORECASE
)
"""The pieces that are encoded one by one: the pattern of open_clip's tokenizer."""

BERT_SPECIAL = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
BERT_OPTIONS = {
    *BERT_SPECIAL,
    *(
        "tokenizer_class",
        "do_lower_case",
        "tokenize_chinese_chars",
        "strip_accents",
        "do_basic_tokenize",
        "never_split",
    ),
    *("truncation_side", "truncation_strategy", "stride", "max_length"),
    *("model_max_length", "padding_side", "pad_to_multiple_of", "pad_token_type_id"),
    *("name_or_path", "local_files_only", "is_local", "backend"),
}
"""Known options of a BERT tokenizer. Those in the last three lines do not change the numbers of tokens."""


def read_token_counter(folder: Path) -> TokenCounter:
    """Return the token counter of a model folder. It equals `token_counter` of the loaded tokenizer.

    Raises:
        UserError: the folder, its config or its tokenizer is missing or invalid.
    """
    text_cfg = read_config(folder)["model_cfg"]["text_cfg"]
    name = text_cfg.get("hf_tokenizer_name")
    if not text_cfg.get("tokenizer_kwargs") and not text_cfg.get("tokenizer_mode"):
        if not name:
            return clip_counter()
        if (counter := _bert_counter(folder / name)) is not None:
            return counter
    from fclip.models.store import load_tokenizer

    return token_counter(load_tokenizer(folder))


def token_counter(tokenizer: Any) -> TokenCounter:
    """Return a token counter for an open_clip tokenizer.

    open_clip's tokenizers truncate to the context. The counter therefore uses the tokenizer inside: that of
    transformers, or CLIP's byte-pair encoder.
    """

    def count(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        if (inner := getattr(tokenizer, "tokenizer", None)) is not None:
            encoded = inner([tokenizer.clean_fn(text) for text in texts], truncation=False, verbose=False)
            return [len(tokens) for tokens in encoded["input_ids"]]
        return [len(tokenizer.encode(text)) + 2 for text in texts]

    return count


def clip_counter() -> TokenCounter:
    """Return the token counter of open_clip's `SimpleTokenizer`."""
    tokenizer = _clip_encoder()

    def count(texts: Sequence[str]) -> list[int]:
        pieces = [CLIP_PIECE.findall(_clean(text).lower()) for text in texts]
        distinct = list(dict.fromkeys(chain.from_iterable(pieces)))
        encoded = tokenizer.encode_batch_fast(distinct)
        num_tokens = {piece: len(tokens) for piece, tokens in zip(distinct, encoded, strict=True)}
        num_tokens |= dict.fromkeys(CLIP_SPECIAL, 1)
        return [2 + sum(num_tokens[piece] for piece in text_pieces) for text_pieces in pieces]

    return count


def _clip_encoder() -> Tokenizer:
    """Return CLIP's byte-pair encoder of one piece of text."""
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.origin is not None
    content = gzip.decompress((Path(spec.origin).parent / CLIP_VOCABULARY).read_bytes()).decode()
    merges = [(first, second) for first, second in (line.split() for line in content.split("\n")[CLIP_MERGES])]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokens = [*alphabet, *(letter + WORD_END for letter in alphabet), *("".join(merge) for merge in merges)]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    encoder = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, end_of_word_suffix=WORD_END))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return encoder


def _bert_counter(folder: Path) -> TokenCounter | None:
    """Return the token counter of a BERT tokenizer of transformers; None if the folder has another tokenizer.

    transformers takes only the vocabulary from `tokenizer.json`, and the rest from the tokenizer's options. Both must
    agree, and every option must be known here.
    """
    try:
        config, options, stored = (
            json.loads((folder / name).read_text(encoding="utf-8"))
            for name in ("config.json", "tokenizer_config.json", "tokenizer.json")
        )
        special = folder / "special_tokens_map.json"
        if special.is_file():
            options |= json.loads(special.read_text(encoding="utf-8"))
        if config["model_type"] != "bert" or not _is_bert(stored, options):
            return None
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception:  # damaged files raise errors of many classes; loading the tokenizer in full explains them
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in tokenizer.encode_batch_fast([_clean(text) for text in texts])]

    return count


def _is_bert(stored: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` is what transformers makes of its vocabulary and of these options."""
    model = {name: value for name, value in stored["model"].items() if name != "vocab"}
    frame = [next(iter(part.values()))["id"] for part in stored["post_processor"]["single"]]
    return (
        options.keys() <= BERT_OPTIONS
        and options["tokenizer_class"] in ("BertTokenizer", "BertTokenizerFast")
        and all(options.get(name, token) == token for name, token in BERT_SPECIAL.items())
        and stored["normalizer"]
        == {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": options.get("tokenize_chinese_chars", True),
            "strip_accents": options.get("strip_accents"),
            "lowercase": options.get("do_lower_case", True),
        }
        and stored["pre_tokenizer"] == {"type": "BertPreTokenizer"}
        and model
        == {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        }
        and frame == ["[CLS]", "A", "[SEP]"]
        and sorted(token["content"] for token in stored["added_tokens"]) == sorted(BERT_SPECIAL.values())
        and all(
            {name for name, value in token.items() if value is True} == {"special"} for token in stored["added_tokens"]
        )
    )


def _clean(text: str) -> str:
    """Repair a text and put it on one line, as open_clip's tokenizers do."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())
