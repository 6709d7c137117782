"""A workspace with two published indexes of random products: of fclip-tiny, and of a second model.

Only the encoder and the size of the index matter for the load, so the vectors are drawn. The second index has the same
products with the vectors in reverse order, and its model has other text embeddings. So an answer that was made with the
model of one and the vectors of the other is none that either of them gives.
"""

import random
import shutil
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from safetensors.numpy import load_file, save_file

from benchmarks.search.inputs import draw_products
from fclip.base_models.registry import WriteRequest, base_models
from fclip.files import atomic_dir, read_json, sha256_json, write_json
from fclip.models.folder import WEIGHTS
from fclip.runtime.loading import load
from fclip.search.build import CatalogEmbeddings, build_index
from fclip.search.catalog import Product
from fclip.search.config import SearchConfig
from fclip.search.manifest import Sources, read_manifest
from fclip.search.published import Pointer, Publication, Published

COLOURS = ("black", "white", "navy", "red", "grey", "green", "beige", "pink", "brown", "yellow", "purple", "orange")
KINDS = (
    "dress",
    "shirt",
    "jeans",
    "sandals",
    "watch",
    "handbag",
    "jacket",
    "skirt",
    "sneakers",
    "belt",
    "scarf",
    "hat",
)
USES = ("casual", "formal", "sports", "party", "travel", "home")
SEASONS = ("spring", "summer", "autumn", "winter")
GENDERS = ("women", "men", "girls", "boys", "unisex")
NUM_TEXTS = 1000
INDEXES = "indexes.json"
MODEL, OTHER_MODEL = "fclip-tiny", "other"


def texts() -> list[str]:
    """Return different short texts to search for."""
    every = [
        f"{colour} {use} {kind} for {who}" for colour in COLOURS for use in USES for kind in KINDS for who in GENDERS
    ]
    return random.Random(0).sample(every, NUM_TEXTS)


def make_workspace(root: Path, num_products: int) -> None:
    """Publish both indexes in `root`, and point to the first one; what is there already is not built again."""
    if (root / INDEXES).is_file():
        return
    published = Published(root / "published")
    folders = _write_models(published.models)
    embeddings = _draw(num_products, load(folders[MODEL]).dim)
    entries = []
    for name, vectors in ((MODEL, embeddings.vectors), (OTHER_MODEL, embeddings.vectors[::-1])):
        digest = folders[name].name
        of = _sources(digest)
        shutil.rmtree(published.indexes / of.index_name, ignore_errors=True)
        build_index(published.indexes / of.index_name, replace(embeddings, vectors=vectors), of, SearchConfig())
        entries.append({"index": of.index_name, "model_sha256": digest})
    write_json(root / INDEXES, entries)  # last, since a workspace with this file is complete
    published.switch("champion", publications(root)[0])


def publications(root: Path) -> list[Publication]:
    """Return both indexes of the workspace."""
    since = datetime.now(UTC).isoformat()
    return [
        Publication(version=number, since=since, **each) for number, each in enumerate(read_json(root / INDEXES), 1)
    ]


def point_to(root: Path, publication: Publication) -> None:
    """Point the champion to an index, without a history."""
    write_json(Published(root / "published").pointer_file("champion"), asdict(Pointer(publication)))


def build_again(root: Path, target: Path) -> None:
    """Build an index like the first one in the new folder `target`."""
    published, (first, _) = Published(root / "published"), publications(root)
    manifest = read_manifest(published.index_folder(first))
    build_index(target, _draw(manifest.num_products, manifest.dim), manifest.sources, SearchConfig())


def _sources(model_sha256: str) -> Sources:
    other = sha256_json(model_sha256)
    return Sources(model_sha256, other, other, other, other)


def _draw(num_products: int, dim: int) -> CatalogEmbeddings:
    drawn, _ = draw_products(num_products, dim=dim, num_queries=1)
    choose = random.Random(1).choice
    products = []
    for number in range(num_products):
        attributes = {"colour": choose(COLOURS), "kind": choose(KINDS), "use": choose(USES)}
        attributes |= {"season": choose(SEASONS), "gender": choose(GENDERS)}
        title = " ".join([*attributes.values(), str(number)])
        products.append(Product("random", str(number), title, attributes))
    return replace(drawn, products=products)


def _write_models(target: Path) -> dict[str, Path]:
    """Write the models to folders that are named by their digests, and return them by name."""
    target.mkdir(parents=True, exist_ok=True)
    kind = base_models()[MODEL]
    folders = {}
    for name in (MODEL, OTHER_MODEL):
        folder = target / f".{name}"
        shutil.rmtree(folder, ignore_errors=True)
        with atomic_dir(folder) as temporary:
            kind.write(kind.config(kind=MODEL), WriteRequest(temporary, Path.cwd()))
            if name == OTHER_MODEL:
                _change_text_embeddings(temporary / WEIGHTS)
        folders[name] = target / load(folder).manifest.model_sha256
        shutil.rmtree(folders[name], ignore_errors=True)
        folder.rename(folders[name])
    return folders


def _change_text_embeddings(path: Path) -> None:
    weights = load_file(path)
    name = next(name for name in weights if name.startswith("text.proj") and weights[name].ndim == 2)
    save_file({**weights, name: weights[name][::-1].copy()}, path)
