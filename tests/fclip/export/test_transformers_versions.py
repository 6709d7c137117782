"""The export for transformers in the newest releases of versions 4 and 5, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fclip.export.parity import pipeline_embeddings, require_parity
from fclip.export.transformers import export_transformers
from fclip.features.similarity import unit
from fclip.images.pixels import decode
from fclip.images.tensors import normalise
from fclip.models import store
from tests.fclip.conversion.peers import save_with_word_tokenizer
from tests.fclip.conversion.siglip_peers import gemma_tokenizer, save_siglip
from tests.fclip.export.few import few_inputs
from tests.tiny_shop import tiny_clip

PACKAGES = {
    4: ("transformers<5", "tokenizers>=0.22,<=0.23.0", "huggingface_hub>=0.34,<1"),
    5: ("transformers>=5,<6",),
}
"""Packages that go before the installed ones. torch and the other dependencies are those of this environment."""
READER = """
import json, sys
import numpy as np, torch, transformers
from pathlib import Path
from PIL import Image
from transformers import AutoModel, AutoProcessor

folder, inputs, out = map(Path, sys.argv[1:])
model, processor = AutoModel.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)
images = [Image.open(path) for path in sorted(inputs.glob("*.jpg"))]
padding = "max_length" if model.config.model_type == "siglip" else True
texts = json.loads((inputs / "texts.json").read_text())
pixels = processor(images=images, return_tensors="pt")
tokens = processor(text=texts, padding=padding, truncation=True, return_tensors="pt")
with torch.inference_mode():
    results = {"images": model.get_image_features(**pixels), "texts": model.get_text_features(**tokens)}
# Version 4 returns the tensors.
features = {name: getattr(result, "pooler_output", result).numpy() for name, result in results.items()}
np.savez(out, pixels=pixels["pixel_values"].numpy(), **features)
print(transformers.__version__)
"""
MODELS: dict[str, Callable[[Path], Path]] = {
    "clip": tiny_clip,
    "clip-words": save_with_word_tokenizer,
    "siglip": save_siglip,
    "siglip2": lambda folder: save_siglip(folder, name="ViT-B-16-SigLIP2", tokenizer=gemma_tokenizer()),
}


@pytest.fixture(scope="module", params=PACKAGES)
def overlay(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """A major version of transformers and a folder with its newest release."""
    folder = tmp_path_factory.mktemp(f"transformers-{request.param}")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*command, *PACKAGES[request.param]], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"transformers {request.param} cannot be installed from the package index: {done.stderr[-300:]}")
    return request.param, folder


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_an_export_gives_the_embeddings_of_the_pipeline(tmp_path: Path, overlay: tuple[int, Path], name: str) -> None:
    major, packages = overlay
    folder, inputs = MODELS[name](tmp_path / "ours"), few_inputs()
    export_transformers(folder, tmp_path / "theirs", inputs)
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "texts.json").write_text(json.dumps(inputs.all_texts))
    for number, content in enumerate(inputs.images):
        (tmp_path / "inputs" / f"{number:03d}.jpg").write_bytes(content)
    paths = [str(tmp_path / path) for path in ("theirs", "inputs", "features.npz")]
    environment = {**os.environ, "PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", READER, *paths], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{major}.")
    theirs = np.load(tmp_path / "features.npz")
    clip: Any = store.load(folder)
    images, texts = pipeline_embeddings(clip, inputs)
    require_parity(images, texts, theirs["images"], theirs["texts"], inputs, export=name)
    np.testing.assert_allclose(unit(theirs["texts"]), unit(texts), atol=1e-4, rtol=0)
    # Version 5 resizes with torchvision, which rounds some pixels to the next grey level. So the pixels are compared
    # with that tolerance, and the features on the same pixels.
    ours = normalise(np.stack([decode(content, clip.preprocess) for content in inputs.images]), clip.preprocess)
    assert np.abs(ours.numpy() - theirs["pixels"]).max() <= 1.01 / 255 / min(clip.preprocess.std)
    with torch.inference_mode():
        images = clip.model.encode_image(torch.from_numpy(theirs["pixels"])).numpy()
    np.testing.assert_allclose(unit(theirs["images"]), unit(images), atol=1e-4, rtol=0)
