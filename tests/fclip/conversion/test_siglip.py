"""Export of SigLIP to transformers' `SiglipModel`, compared with open_clip on small random models."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModel, AutoProcessor, PreTrainedTokenizerBase, SiglipModel, SiglipProcessor

from fclip.errors import UserError
from fclip.export.transformers import export_transformers
from fclip.images.pixels import decode
from fclip.images.tensors import normalise
from fclip.models import store
from tests.fclip.conversion.siglip_peers import CONTEXT, gemma_tokenizer, save_siglip, t5_tokenizer
from tests.fclip.export.few import few_inputs

FORMS: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "ViT-B-16-SigLIP": t5_tokenizer,
    "ViT-B-16-SigLIP2": gemma_tokenizer,
}


@pytest.mark.parametrize("name", FORMS)
@torch.inference_mode()
def test_siglip_keeps_features_tokens_and_pixels(tmp_path: Path, name: str) -> None:
    folder = save_siglip(tmp_path / "ours", name=name, tokenizer=FORMS[name]())
    inputs = few_inputs()
    parity = export_transformers(folder, tmp_path / "theirs", inputs)
    assert (parity.num_images, parity.num_images_left_out) == (len(inputs.images), 0)
    clip: Any = store.load(folder)
    model, processor = (each.from_pretrained(tmp_path / "theirs") for each in (AutoModel, AutoProcessor))
    assert isinstance(model, SiglipModel)
    assert isinstance(processor, SiglipProcessor)
    assert processor.tokenizer.model_max_length == CONTEXT

    tokens = clip.tokenizer(list(inputs.texts))
    encoded = processor(text=list(inputs.texts), padding="max_length", truncation=True, return_tensors="pt")
    assert set(encoded) == {"input_ids"}
    assert torch.equal(encoded["input_ids"], tokens)
    assert len(tokens[:, 0].unique()) > 2
    ours, theirs = clip.model.encode_text(tokens), model.eval().get_text_features(**encoded).pooler_output
    assert float(ours.std()) > 0.1
    assert torch.allclose(ours, theirs, atol=1e-5, rtol=0)

    pictures = [Image.open(io.BytesIO(content)) for content in inputs.images]
    theirs = processor(images=pictures, return_tensors="pt")["pixel_values"]
    pixels = torch.stack([torch.tensor(decode(content, clip.preprocess)) for content in inputs.images])
    ours = normalise(pixels, clip.preprocess)
    assert float((ours - theirs).abs().max()) <= 1.01 / 255 / 0.5  # one grey level
    features = clip.model.encode_image(ours)
    assert float(features.std()) > 0.1
    assert torch.allclose(features, model.get_image_features(pixel_values=ours).pooler_output, atol=1e-5, rtol=0)
    assert (model.logit_scale, model.logit_bias) == (clip.model.logit_scale, clip.model.logit_bias)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": {"no_causal_mask": False}}, "text tower is not SigLIP's"),
        ({"text": {"pool_type": "argmax"}}, "text tower is not SigLIP's"),
        ({"text": {"proj_bias": False}}, r"missing from the weights, such as text.text_projection"),
        ({"text": {"ls_init_value": 0.1}}, r"tensors that a CLIP does not have, such as text.transformer"),
        (
            {"text": {"tokenizer_kwargs": {"strip_sep_token": True}}},
            "its tokenizer has options",
        ),
        ({"vision": {"timm_proj": "linear"}}, "image tower has class tokens or a projection"),
        ({"vision": {"timm_pool": "avg"}}, r"transformers has no class for its image tower .timm's vit_tiny_siglip"),
        ({"resize_mode": "shortest"}, "resize_mode is `shortest`"),
    ],
)
def test_what_siglip_of_transformers_lacks_is_a_user_error(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    folder = save_siglip(tmp_path / "ours", **options)
    with pytest.raises(UserError, match=f"ours cannot be exported to transformers: .*{message}"):
        export_transformers(folder, tmp_path / "theirs", few_inputs())
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]
