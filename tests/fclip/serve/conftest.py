"""A service over a workspace of 40 coloured pictures, with the image packs, for a client in this process."""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from starlette.testclient import TestClient

from fclip.base_models.registry import WriteRequest, base_models
from fclip.files import sha256_bytes
from fclip.images.packs import PackWriter, StoredImage
from fclip.models.folder import WEIGHTS
from fclip.runtime.loading import load
from fclip.search.build import CatalogEmbeddings
from fclip.search.catalog import Product
from fclip.search.published import Published, Role
from fclip.serve.app import create_app
from fclip.serve.settings import Settings
from tests.fclip.search.conftest import publish, sources

COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 40, 200), "yellow": (230, 220, 40)}
SCRIPT = "<script>alert(1)</script>"


def picture(colour: str, seed: int = 0) -> bytes:
    """The content of a PNG of one colour with noise."""
    noise = np.random.default_rng(seed).integers(-20, 21, (8, 8, 3))
    pixels = np.clip(np.array(COLOURS[colour]) + noise, 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((64, 64)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Shop:
    """A workspace with published indexes. `publish` builds another index, and points a role to it."""

    root: Path
    models: dict[str, Path]

    @property
    def published(self) -> Published:
        return Published(self.root / "published")

    def publish(self, role: Role, model: str = "tiny", *, numbers: range = range(10), catalog: str = "c") -> str:
        """Publish 4 × len(numbers) pictures for a role, embedded by a model, and return the name of the index."""
        return publish_colours(self, role, model, numbers, catalog * 64)


def publish_colours(shop: Shop, role: Role, model: str, numbers: range, catalog: str) -> str:
    names = [(colour, number) for number in numbers for colour in COLOURS]
    contents = [picture(colour, number) for colour, number in names]
    loaded = load(shop.models[model])
    digest = loaded.manifest.model_sha256
    folder = shop.published.model_folder(digest)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(shop.models[model])
    with PackWriter(shop.root / "data" / "images" / "shop") as packs:
        for content in contents:
            packs.add(StoredImage(sha256_bytes(content), content, 64, 64))
    products = [
        Product(
            "shop", f"{colour}/{number}", f"a {colour} {number}" if number else SCRIPT, {"colour": colour}, "cotton"
        )
        for colour, number in names
    ]
    vectors = loaded.embed_images(contents)
    images = np.arange(len(names), dtype=np.int32)
    content = CatalogEmbeddings(products, images, [sha256_bytes(each) for each in contents], vectors, vectors)
    of = sources(digest, catalog)
    publish(shop.root, content, role=role, of=of)
    return of.index_name


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of fclip-tiny, and of the same model with other text embeddings."""
    folder = tmp_path_factory.mktemp("models")
    tiny = base_models()["fclip-tiny"]
    (folder / "tiny").mkdir()
    tiny.write(tiny.config(kind="fclip-tiny"), WriteRequest(folder / "tiny", Path.cwd()))
    shutil.copytree(folder / "tiny", folder / "other")
    weights = load_file(folder / "other" / WEIGHTS)
    name = next(name for name in weights if name.startswith("text.proj") and weights[name].ndim == 2)
    weights[name] = weights[name][::-1].copy()
    save_file(weights, folder / "other" / WEIGHTS)
    return {"tiny": folder / "tiny", "other": folder / "other"}


@pytest.fixture(scope="session")
def published_once(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("service"), models)
    shop.publish("champion")
    return shop


@pytest.fixture
def shop(published_once: Shop, tmp_path: Path) -> Shop:
    """A workspace with 40 pictures by the champion, which a test may change."""
    shutil.copytree(published_once.root, tmp_path / "shop", symlinks=True)
    return Shop(tmp_path / "shop", published_once.models)


Connect = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture
def connect(shop: Shop) -> Connect:
    """connect(**settings) -> a client of the service in this process."""

    @contextmanager
    def run(**settings: object) -> Iterator[TestClient]:
        values = {"hosts": ("testserver",), "num_threads": 1, **settings}
        app = create_app(shop.root, Settings(**values))  # type: ignore[arg-type]
        with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:  # type: ignore[arg-type]
            yield client

    return run


@pytest.fixture
def client(connect: Connect) -> Iterator[TestClient]:
    with connect() as connected:
        yield connected
