"""Token counts without torch equal those of the tokenizers that models use."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from fclip.base_models import towers
from fclip.captions import token_counts
from fclip.captions.token_counts import clip_counter, read_token_counter, token_counter
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess

PREPROCESS = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3)
PARTS = (
    *("<start_of_text>", "!!<end_of_text>x", "<|endoftext|>", "[MASK]", "[cls]", "[UNK]##ing", "unaffable", "a" * 101),
    *("don't", "we'LL", "'\u017f", "\u212a", "İ", "\u1e9e", "café", "cafe\u0301", "schÃ¶n", "&amp;lt;b&amp;gt;"),
    *("大きいコート", "한국어", "เสื้อ", "👗🏽", "\u200b", "\xa0", "\u3000", "\x85", "\x1c", "\r\n", "\x00"),
    *("½", "٣٤", "\u2168", "12345", "--", "…", "\ufb01ne", "\u2028", "EUR 49.99!", "#1", "_"),
)
SHORT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LATIN = st.text("aeiRST éß.", max_size=6)
TEXTS = st.lists(st.sampled_from(PARTS) | SHORT).map("".join) | st.lists(st.sampled_from(PARTS) | LATIN).map(" ".join)
CLIP = clip_counter()
OPEN_CLIP = token_counter(SimpleTokenizer())


def write_bert(folder: Path, **options: object) -> Path:
    """Write the tokenizer of MiniLM with other options, and a config that names it."""
    _, files = towers._text_state()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **options}))
    text_cfg = {"hf_model_name": ".", "hf_tokenizer_name": ".", "context_length": 12}
    write_config({"embed_dim": 8, "vision_cfg": {}, "text_cfg": text_cfg}, PREPROCESS, folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def transformers_count(bert: Path) -> token_counts.TokenCounter:
    return token_counter(HFTokenizer(str(bert), context_length=12, local_files_only=True))


@pytest.fixture(scope="module")
def bert_count(bert: Path) -> token_counts.TokenCounter:
    return read_token_counter(bert)


@example([])
@example(["", *PARTS])
@given(st.lists(TEXTS, max_size=4))
def test_counts_equal_those_of_open_clips_tokenizer(texts: list[str]) -> None:
    assert CLIP(texts) == OPEN_CLIP(texts)


@example(texts=[])
@example(texts=["", *PARTS])
@given(texts=st.lists(TEXTS, max_size=4))
def test_counts_equal_those_of_transformers(
    texts: list[str], bert_count: token_counts.TokenCounter, transformers_count: token_counts.TokenCounter
) -> None:
    assert bert_count(texts) == transformers_count(texts)


def test_a_saved_tokenizer_needs_no_transformers(bert: Path, tmp_path: Path, forbid_loading: None) -> None:
    HFTokenizer(str(bert), local_files_only=True).save_pretrained(tmp_path)
    for name in ("config.json", "open_clip_config.json"):
        (tmp_path / name).write_bytes((bert / name).read_bytes())
    assert read_token_counter(tmp_path)(["a red coat", ""]) == [5, 2]


@pytest.fixture
def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path) -> None:
        raise AssertionError(f"{folder} was loaded in full")

    monkeypatch.setattr("fclip.models.store.load_tokenizer", fail)


def _disagree(folder: Path) -> None:
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(stored))


def _add_token(folder: Path) -> None:
    stored = json.loads((folder / "tokenizer.json").read_text())
    stored["added_tokens"].append({**stored["added_tokens"][0], "id": 2, "content": "[coat]"})
    (folder / "tokenizer.json").write_text(json.dumps(stored))


@pytest.mark.parametrize("change", [_disagree, _add_token])
def test_files_that_disagree_are_read_as_the_model_reads_them(tmp_path: Path, change: Callable[[Path], None]) -> None:
    change(write_bert(tmp_path))
    texts = ["A RED Coat", "[coat]"]
    expected = token_counter(HFTokenizer(str(tmp_path), local_files_only=True))(texts)
    assert read_token_counter(tmp_path)(texts) == expected


def test_options_that_are_not_known_are_left_to_transformers(tmp_path: Path, forbid_loading: None) -> None:
    write_bert(tmp_path, add_prefix_space=True)
    with pytest.raises(AssertionError, match="loaded in full"):
        read_token_counter(tmp_path)


def test_options_of_open_clips_tokenizer_are_left_to_it(tmp_path: Path) -> None:
    model_cfg = {"vision_cfg": {}, "text_cfg": {"tokenizer_kwargs": {"clean": "canonicalize"}}}
    write_config(model_cfg, PREPROCESS, tmp_path)
    text = "red-coat, warm!"
    assert read_token_counter(tmp_path)([text]) == token_counter(SimpleTokenizer(clean="canonicalize"))([text])
    assert read_token_counter(tmp_path)([text]) != CLIP([text])
