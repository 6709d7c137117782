"""A small, randomly initialised SigLIP in open_clip's format, with tokenizers of the published forms."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.tokenizer import HFTokenizer
from timm.models import VisionTransformer, register_model
from transformers import GemmaTokenizer, PreTrainedTokenizerBase, T5Tokenizer

from fclip.models import store
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess

CONTEXT = 16
WORDS = ("a", "photo", "of", "red", "blue", "dress", "women", "cotton", "shirt", "'")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789&!%,.()/-_éü")


@register_model
def vit_tiny_siglip_for_tests(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """`vit_base_patch16_siglip_224` with two thin layers."""
    model = VisionTransformer(
        img_size=32,
        patch_size=8,
        embed_dim=32,
        depth=2,
        num_heads=2,
        class_token=False,
        global_pool=options.get("global_pool", "map"),
        num_classes=options.get("num_classes", 0),
    )
    model.default_cfg = {}  # `timm_proj: linear` reads it
    return model


def t5_tokenizer() -> PreTrainedTokenizerBase:
    """SigLIP's form: a unigram model that pads with its end token."""
    pieces = [*(f"▁{word}" for word in WORDS), "▁", *LETTERS]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -float(len(piece))) for piece in pieces)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, pad_token="</s>")


def gemma_tokenizer() -> PreTrainedTokenizerBase:
    """SigLIP 2's form: byte-pair encoding with an end token and its own padding."""
    pieces = ("<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS, "re", "red", "▁red", "dr", "dre")
    merges = [("r", "e"), ("re", "d"), ("▁", "red"), ("d", "r"), ("dr", "e")]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return GemmaTokenizer(
        vocab=vocabulary, merges=merges, padding_side="right", add_bos_token=False, add_eos_token=True
    )


def siglip_config(name: str, vocabulary: int) -> dict[str, Any]:
    """Return the config of a model that open_clip knows, with few thin layers and the tiny image tower."""
    model_cfg = copy.deepcopy(open_clip.get_model_config(name))
    model_cfg["embed_dim"] = 32
    model_cfg["vision_cfg"] |= {"timm_model_name": "vit_tiny_siglip_for_tests", "image_size": 32}
    model_cfg["text_cfg"] |= {"context_length": CONTEXT, "vocab_size": vocabulary, "width": 32, "heads": 2, "layers": 2}
    return model_cfg


def save_siglip(
    folder: Path,
    *,
    name: str = "ViT-B-16-SigLIP",
    tokenizer: PreTrainedTokenizerBase | None = None,
    vision: Mapping[str, Any] | None = None,
    text: Mapping[str, Any] | None = None,
    resize_mode: str = "squash",
) -> Path:
    """Write a SigLIP with random norms and biases to `folder`, in the form of a base model of the pipeline."""
    tokenizer = tokenizer or t5_tokenizer()
    model_cfg = siglip_config(name, len(tokenizer))
    model_cfg["vision_cfg"] |= vision or {}
    model_cfg["text_cfg"] |= text or {}
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(
        **{key: copy.deepcopy(value) for key, value in model_cfg.items() if key != "custom_text"}
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    options = model_cfg["text_cfg"]["tokenizer_kwargs"]
    store.write_tokenizer(HFTokenizer(str(folder), context_length=CONTEXT, **options), folder)
    model_cfg["text_cfg"]["hf_tokenizer_name"] = "."
    preprocess = Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3, resize_mode=resize_mode)
    write_config(model_cfg, preprocess, folder)
    store.write_weights(model, folder)
    return folder
