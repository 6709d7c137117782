"""Small, randomly initialised models of transformers, and tokenizers for them."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from fclip.conversion.from_transformers import import_clip, source_files

WORDS = ("a", "the", "photo", "of", "red", "green", "blue", "dress", "coat", "shirt", "long", "women")


def peer(*, seed: int = 0, text: dict[str, Any] | None = None, image: dict[str, Any] | None = None) -> CLIPModel:
    """Return a `CLIPModel` with two layers per tower and random parameters, including norms and biases."""
    act = (image or {}).get("hidden_act", "quick_gelu")
    config = CLIPConfig(
        projection_dim=24,
        text_config={
            "hidden_size": 32,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "hidden_act": act,
            **(text or {}),
        },
        vision_config={
            "hidden_size": 48,
            "intermediate_size": 192,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 16,
            **(image or {}),
        },
    )
    torch.manual_seed(seed)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def save_peer(folder: Path, model: CLIPModel | None = None, tokenizer: Any = None) -> Path:
    """Write config, weights and tokenizer of a model to `folder`. Without a tokenizer, it is CLIP's."""
    (model or peer()).save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


def word_tokenizer(context_length: int) -> PreTrainedTokenizerFast:
    """Return a word-level tokenizer, in which `<end>` is neither the last id nor the padding."""
    vocabulary = {word: number for number, word in enumerate(("<pad>", "<start>", "<unknown>", "<end>", *WORDS))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unknown>",
        model_max_length=context_length,
    )


@torch.inference_mode()
def image_features(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    return model.get_image_features(pixel_values=pixels).pooler_output


@torch.inference_mode()
def text_features(model: CLIPModel, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Return text features as usual in transformers: padded to the longest text, truncated, padding masked."""
    length = model.config.text_config.max_position_embeddings
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")
    return model.get_text_features(
        input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]
    ).pooler_output


def save_with_word_tokenizer(folder: Path) -> Path:
    """Write a CLIP with a word-level tokenizer to `folder`, in the form of a base model of the pipeline."""
    tokenizer = word_tokenizer(12)
    model = peer(text={"vocab_size": len(tokenizer), "max_position_embeddings": 12, "eos_token_id": 3})
    theirs = save_peer(folder.with_name(f"{folder.name}-theirs"), model, tokenizer)
    folder.mkdir()
    import_clip(theirs, source_files(path.name for path in theirs.iterdir()), folder)
    return folder
