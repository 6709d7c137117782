"""Batched encoding equals encoding one by one."""

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from fclip.features.encode import encode_images, encode_texts
from fclip.features.similarity import unit
from fclip.images.packs import StoredImage
from fclip.images.pixels import decode
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from fclip.models.store import Clip, load, write_weights

TEXTS = ["a red dress", "shoes", "a very long winter coat with buttons and a belt", "", "red dress", "shoes"]


@pytest.fixture(scope="module")
def clip(models: dict[str, Path]) -> Clip:
    return load(models["seed-0"])


def test_image_features_equal_open_clip(clip: Clip, images: list[StoredImage]) -> None:
    pixels = np.stack([decode(image.content, clip.preprocess) for image in images])
    features = encode_images(clip, pixels, batch_size=8)
    values = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = clip.model.encode_image(values)
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_image_features_do_not_depend_on_other_rows(clip: Clip, images: list[StoredImage], batch_size: int) -> None:
    pixels = np.stack([decode(image.content, clip.preprocess) for image in images])
    together = encode_images(clip, pixels, batch_size=32)
    np.testing.assert_allclose(encode_images(clip, pixels, batch_size=batch_size), together, atol=1e-5)
    assert (encode_images(clip, pixels[40:41], batch_size=32) == encode_images(clip, pixels[38:43])[2:3]).all()


def test_text_features_keep_the_order_of_the_texts(clip: Clip) -> None:
    features = encode_texts(clip, TEXTS, batch_size=2)
    for text, row in zip(TEXTS, features, strict=True):
        with torch.no_grad():
            alone = clip.model.encode_text(clip.tokenizer([text]))[0]
        np.testing.assert_allclose(row, alone.numpy(), rtol=1e-4, atol=1e-5)
    assert (features[1] == features[5]).all()


def test_empty_inputs_give_empty_features(clip: Clip) -> None:
    assert encode_texts(clip, []).shape[0] == 0
    assert encode_images(clip, np.empty((0, 32, 32, 3), np.uint8)).shape[0] == 0


def test_shorter_padding_does_not_change_features(tmp_path: Path) -> None:
    """A text tower of transformers masks padding, so it gets only as many tokens as the batch needs."""
    from transformers import BertConfig, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dress", "shoes", "very", "long", "winter"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertConfig(vocab_size=len(words), **sizes).save_pretrained(tmp_path)
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {
            "hf_model_name": str(tmp_path),
            "hf_model_pretrained": False,
            "hf_tokenizer_name": ".",
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
            "context_length": 24,
        },
    }
    torch.manual_seed(0)
    write_weights(open_clip.CustomTextCLIP(**config), tmp_path)
    config["text_cfg"] |= {"hf_model_name": "."}
    write_config(config, Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3), tmp_path)
    clip = load(tmp_path)
    assert clip.tokenize(["red shoes"]).shape[1] < 24
    features = encode_texts(clip, TEXTS)
    with torch.no_grad():
        expected = clip.model.encode_text(clip.tokenizer(TEXTS))
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_unit_normalises_rows_and_keeps_zeros() -> None:
    rows = unit(np.array([[3, 4], [0, 0], [1e-30, 0], [1e30, 0]], np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0], [1, 0], [1, 0]])
    assert rows.dtype == np.float32
