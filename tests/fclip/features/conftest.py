"""Tiny models and image packs for feature extraction."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fclip.images.packs import ImagePacks, StoredImage
from tests.packs import write_packs
from tests.tiny_shop import picture, tiny_clip


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two tiny CLIPs with different weights."""
    folder = tmp_path_factory.mktemp("models")
    return {f"seed-{seed}": tiny_clip(folder / f"seed-{seed}", seed=seed) for seed in (0, 1)}


@pytest.fixture(scope="session")
def images() -> list[StoredImage]:
    return [picture((5 * seed % 256, 90, 160), seed) for seed in range(75)]


@pytest.fixture(scope="session")
def packs(tmp_path_factory: pytest.TempPathFactory, images: list[StoredImage]) -> ImagePacks:
    folder = tmp_path_factory.mktemp("packs")
    write_packs(folder, images)
    return ImagePacks([folder])


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The numbers of models loaded, images decoded, and images and texts encoded by `extract_features`."""
    from fclip.features import extract
    from fclip.models.store import ModelLoader

    counts = dict.fromkeys(("load", "decode", "encode_images", "encode_texts"), 0)

    def count(name: str, size: Callable[[tuple], int], owner: object = extract) -> None:
        original = getattr(owner, name)

        def wrapper(*args, **options):
            counts[name] += size(args)
            return original(*args, **options)

        monkeypatch.setattr(owner, name, wrapper)

    count("load", lambda args: 1, ModelLoader)
    count("decode", lambda args: 1)
    count("encode_images", lambda args: len(args[1]))
    count("encode_texts", lambda args: len(args[1]))
    return counts
