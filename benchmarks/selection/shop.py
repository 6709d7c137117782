"""Split KAGL into a shop, which trains, and out-of-domain datasets with other article types, brands and scenes."""

import csv
import io
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from fclip.images.packs import ImagePacks
from fclip.scenes.backgrounds import draw_background
from fclip.training.backgrounds import background_mask
from tasks.workspace.paths import Workspace

SEED = 0
NUM_TYPES, TYPE_SIZES = 14, (80, 900)
"""Number of held-out article types, and the range of products that a held-out type has."""
NUM_BRANDS, BRAND_SIZES = 10, (120, 900)
NUM_SHOP, NUM_OUT_OF_DOMAIN = 5400, 700
SIDE = 160
COLUMNS = ("id", "image", "title", "type", "colour", "gender")
Product = dict[str, Any]


def write_shop(kagl: Workspace, folder: Path) -> None:
    """Write `shop.csv`, `types.csv`, `brands.csv` and `street.csv` to `folder`, each beside a folder with its images.

    shop: the training products, without the held-out types and brands. types: products of held-out types. brands:
    products of held-out brands, with types that the shop has. street: products that do not train, cut out and placed in
    other scenes. No two tables share a product or near-duplicates.

    Args:
        kagl: a workspace that has ingested KAGL.
    """
    rows = pq.read_table(kagl.catalog("kagl") / "products.parquet").to_pylist()
    products = [product for row in rows if (product := _product(row)) is not None]
    chance = random.Random(SEED)
    types = set(_sample_values([product["type"] for product in products], NUM_TYPES, TYPE_SIZES, chance))
    brands = set(_sample_values([product["brand"] for product in products], NUM_BRANDS, BRAND_SIZES, chance))
    chance.shuffle(products)
    used: set[str] = set()

    def take(products: Iterable[Product], number: int) -> list[Product]:
        taken = [product for product in products if product["group"] not in used][:number]
        used.update(product["group"] for product in taken)
        return taken

    rest = [product for product in products if product["type"] not in types and product["brand"] not in brands]
    shop = take(rest, NUM_SHOP)
    shop_types = {product["type"] for product in shop}
    out_of_domain = {
        "types": take((p for p in products if p["type"] in types and p["brand"] not in brands), NUM_OUT_OF_DOMAIN),
        "brands": take((p for p in products if p["brand"] in brands and p["type"] in shop_types), NUM_OUT_OF_DOMAIN),
        "street": take((p for p in rest if p["type"] in shop_types), NUM_OUT_OF_DOMAIN),
    }
    packs = ImagePacks([kagl.images("kagl")])
    for name, chosen in {"shop": shop, **out_of_domain}.items():
        _write(folder, name, chosen, packs, in_scenes=name == "street")


def _product(row: dict[str, Any]) -> Product | None:
    attributes, texts = dict(row["attributes"]), dict(row["texts"])
    title = texts.get("title")
    if not title or "category3" not in attributes:
        return None
    return {
        "id": row["product_id"],
        "image": row["images"][0],
        "title": title,
        "type": attributes["category3"],
        "brand": title.split()[0],
        "colour": attributes.get("colour", ""),
        "gender": attributes.get("gender", ""),
        "group": row["group_id"],
    }


def _sample_values(values: Sequence[str], number: int, sizes: tuple[int, int], chance: random.Random) -> list[str]:
    counts = Counter(values)
    return chance.sample(sorted(name for name, size in counts.items() if sizes[0] <= size <= sizes[1]), number)


def _write(folder: Path, name: str, products: Sequence[Product], packs: ImagePacks, *, in_scenes: bool = False) -> None:
    images = folder / name
    images.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        for product, content in zip(products, packs.read_many([p["image"] for p in products]), strict=True):
            image = place_in_scene(content, product["id"]) if in_scenes else content
            if image is None:
                continue
            (images / f"{product['id']}.jpg").write_bytes(image)
            writer.writerow({**product, "image": f"{product['id']}.jpg"})


def place_in_scene(content: bytes, seed: str) -> bytes | None:
    """Return the product cut out, rotated and placed in a drawn scene with other light, as a JPEG.

    It returns None if the product is not on a white background. `seed` is the product id.
    """
    chance, generator = random.Random(seed), np.random.default_rng(int(seed))
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    scale = chance.uniform(0.55, 0.9) * SIDE / max(picture.size)
    picture = picture.resize([max(8, round(side * scale)) for side in picture.size], Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(picture, np.float32)).permute(2, 0, 1)[None]
    background, _ = background_mask(pixels)
    if not background.any():
        return None
    alpha = Image.fromarray((255 * (1 - background[0, 0].numpy())).astype(np.uint8))
    angle = chance.uniform(-25, 25)
    picture, alpha = (image.rotate(angle, Image.Resampling.BICUBIC, expand=True) for image in (picture, alpha))
    scene = Image.fromarray(
        np.clip(draw_background(chance, generator, SIDE), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    )
    left, top = (chance.randint(min(0, room), max(0, room)) for room in (SIDE - picture.width, SIDE - picture.height))
    scene.paste(picture, (left, top), alpha)
    light = np.array([chance.uniform(0.75, 1.1), 1.0, chance.uniform(0.7, 1.05)]) * chance.uniform(0.6, 1.1)
    noise = generator.normal(0, 6, (SIDE, SIDE, 1))
    lit = Image.fromarray(np.clip(np.asarray(scene, np.float32) * light + noise, 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    lit.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
