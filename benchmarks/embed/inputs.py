"""Models and images of the benchmark, written once to its work folder."""

import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel

from benchmarks.embed.package import install_fashion_clip
from fclip.base_models import fclip_tiny
from fclip.conversion.from_transformers import import_clip, source_files
from fclip.conversion.preprocessing import to_processor
from fclip.conversion.tokens import clip_tokenizer
from fclip.export.onnx import export_onnx
from fclip.files import atomic_dir, sha256_bytes, write_json
from fclip.images.packs import PackWriter, StoredImage
from fclip.models.preprocess import Preprocess
from fclip.sample.catalog import draw_products

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP
SIZES = {"60x80": (60, 80), "500x700": (500, 700)}
JPEG_QUALITY = 90
IMAGES, PACKS, DIGESTS, TEXTS = "files", "packs", "digests.json", "texts.json"
TRANSFORMERS, OPEN_CLIP, RUNTIME = "transformers", "open_clip", "runtime"


@dataclass(frozen=True)
class BenchmarkModel:
    """A model of the benchmark.

    Attributes:
        folder: has the model as `transformers` (if the package fashion-clip can load it), `open_clip` and `runtime`.
        num_images: number of images by size.
        num_queries: number of single images and texts.
        is_large: whether the forward pass takes nearly all of the time, so that all tools are equally fast.
    """

    name: str
    folder: Path
    num_images: dict[str, int]
    num_queries: int
    is_large: bool = False

    @property
    def peers(self) -> tuple[str, ...]:
        """The peers that can load the model."""
        return ("fashion-clip", "open_clip") if (self.folder / TRANSFORMERS).is_dir() else ("open_clip",)


def write_models(work: Path) -> list[BenchmarkModel]:
    """Write the models to `work`, unless they are there already."""
    small = _written(work / "small", lambda folder: _write_clip(folder, _small()))
    tiny = _written(work / "fclip-tiny", _write_tiny)
    large = _written(work / "ViT-B-32", lambda folder: _write_clip(folder, CLIPConfig()))
    return [
        BenchmarkModel("CLIP, 96 px, 4 layers", small, {"60x80": 512, "500x700": 256}, 300),
        BenchmarkModel("fclip-tiny", tiny, {"60x80": 512, "500x700": 256}, 300),
        BenchmarkModel("ViT-B/32", large, {"60x80": 64, "500x700": 64}, 60, is_large=True),
    ]


def write_images(work: Path, num_images: int) -> dict[str, Path]:
    """Write drawn photographs as files and as packs; return the folder of each size. Texts are beside the images."""
    folders = {name: work / f"images-{name}" for name in SIZES}
    if not all(folder.is_dir() for folder in folders.values()):
        products = list(draw_products("street", num_products=num_images, seed=0))
        for name, size in SIZES.items():
            with atomic_dir(folders[name]) as folder:
                (folder / IMAGES).mkdir()
                contents = [_resized(product.images[0], size) for product in products]
                with PackWriter(folder / PACKS) as packs:
                    for number, content in enumerate(contents):
                        (folder / IMAGES / f"{number:04d}.jpg").write_bytes(content)
                        packs.add(StoredImage(sha256_bytes(content), content, *size))
                write_json(folder / DIGESTS, [sha256_bytes(content) for content in contents])
                write_json(folder / TEXTS, [product.texts["title"] for product in products])
    return folders


def install_peer(work: Path) -> Path:
    """Return the folder of the package fashion-clip."""
    return install_fashion_clip(work / "fashion-clip")


def _written(folder: Path, write: Callable[[Path], None]) -> Path:
    if not folder.is_dir():
        with atomic_dir(folder) as temporary:
            write(temporary)
    return folder


def _small() -> CLIPConfig:
    tower: dict[str, Any] = {"num_hidden_layers": 4}
    image = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "image_size": 96}
    text = {"hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4}
    return CLIPConfig(projection_dim=256, vision_config={**tower, **image, "patch_size": 16}, text_config=tower | text)


def _write_clip(folder: Path, config: Any) -> None:
    """Write a CLIP with random weights in all three forms."""
    torch.manual_seed(0)
    source = folder / TRANSFORMERS
    CLIPModel(config).save_pretrained(source)
    clip_tokenizer(config.text_config.max_position_embeddings).save_pretrained(source)
    preprocess = Preprocess(size=config.vision_config.image_size, mean=MEAN, std=STD)
    write_json(source / "preprocessor_config.json", to_processor(preprocess))
    (folder / OPEN_CLIP).mkdir()
    import_clip(source, source_files(path.name for path in source.iterdir()), folder / OPEN_CLIP)
    export_onnx(folder / OPEN_CLIP, folder / RUNTIME)


def _write_tiny(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        composed = Path(work) / "model"
        composed.mkdir()
        fclip_tiny.compose(composed)
        shutil.copytree(composed, folder / OPEN_CLIP)
    export_onnx(folder / OPEN_CLIP, folder / RUNTIME)


def _resized(content: bytes, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
