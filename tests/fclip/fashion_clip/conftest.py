"""A CLIP of transformers with random weights in the form of FashionCLIP, loaded once by the API, and images."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import CLIPModel

from fclip import FashionCLIP
from fclip.conversion.preprocessing import to_processor
from fclip.conversion.tokens import clip_tokenizer
from fclip.files import write_json
from fclip.models.preprocess import Preprocess
from tests.fclip.conversion.peers import peer, save_peer

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PREPROCESS = Preprocess(size=32, mean=MEAN, std=STD)
TEXTS = [
    "a photo of a red dress",
    "Women's T-Shirt, 100% Cotton (M/L)",
    "Größe 38: café crème #1",
    "blue dress " * 60,
    "x",
    "shoes",
    "shoes",
]


@dataclass(frozen=True)
class Converted:
    """Attributes:
    model: the model in transformers. folder: where it is stored.
    fclip: the API with the converted model.
    home: the folder of what fclip keeps.
    """

    model: CLIPModel
    folder: Path
    fclip: FashionCLIP
    home: Path


@pytest.fixture(scope="session")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Converted]:
    root = tmp_path_factory.mktemp("fashion-clip")
    model = peer(text={"vocab_size": 49408, "max_position_embeddings": 77})
    folder = save_peer(root / "model", model, clip_tokenizer(77))
    write_json(folder / "preprocessor_config.json", to_processor(PREPROCESS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FCLIP_HOME", str(root / "home"))
        yield Converted(model, folder, FashionCLIP(str(folder)), root / "home")


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Paths of images of several kinds: JPEG, PNG, wide, grey, with alpha, and one that is turned by its EXIF data."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)

    def draw(name: str, width: int, height: int, mode: str = "RGB", orientation: int | None = None) -> str:
        channels = len(mode)
        small = rng.integers(0, 256, (6, 6, channels), dtype=np.uint8).squeeze()
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        assert image.mode == mode
        exif = Image.Exif()
        if orientation:
            exif[0x0112] = orientation
        image.save(folder / name, exif=exif)
        return str(folder / name)

    return [
        draw("portrait.jpg", 60, 80),
        draw("square.png", 64, 64),
        draw("wide.jpg", 200, 45),
        draw("grey.png", 50, 70, "L"),
        draw("grey.jpg", 70, 50, "L"),
        draw("alpha.png", 48, 60, "RGBA"),
        draw("turned.jpg", 60, 90, orientation=6),
    ]
