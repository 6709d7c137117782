"""The drawn catalog: a sequence of products, each with its own seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np

from fclip.sample.garments import tailor
from fclip.sample.photographs import SCENES, Domain
from fclip.sample.products import make_product
from fclip.sample.wording import write_texts

MIN_PARALLEL = 500  # products; drawing fewer takes less time than starting processes
CHUNK = 16
TWO_IMAGES = 0.12  # share of products with two images


@dataclass(frozen=True)
class SampleProduct:
    """One product of the drawn catalog. `images`: JPEG files, the primary image first."""

    product_id: str
    attributes: dict[str, str]
    texts: dict[str, str]
    images: tuple[bytes, ...]


def draw_products(domain: Domain, *, num_products: int, seed: int, side: int = 224) -> Iterator[SampleProduct]:
    """Draw the first `num_products` products of a domain, with images of `side` x `side` pixels.

    Product i depends only on (domain, seed, i), so a larger number extends a smaller one.

    Raises:
        ValueError: unknown domain; raised at the call, not at the first product.
    """
    if domain not in SCENES:
        raise ValueError(f"domain must be one of {', '.join(SCENES)}, not {domain!r}")
    one = partial(draw_product, domain, seed=seed, side=side)
    return _in_processes(one, num_products) if num_products > MIN_PARALLEL else map(one, range(num_products))


def _in_processes(one: Callable[[int], SampleProduct], number: int) -> Iterator[SampleProduct]:
    """Yield `one(0)`, `one(1)`, … in order, computed in parallel processes, since drawing holds the GIL."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(one, range(number), chunksize=CHUNK)


def draw_product(domain: Domain, index: int, *, seed: int, side: int = 224) -> SampleProduct:
    """Draw product number `index` of a domain, independently of the other products."""
    product = make_product(domain, index, seed)
    garment = tailor(product)
    rng = random.Random(f"photographs/{domain}/{seed}/{index}")
    images = []
    for _ in range(2 if rng.random() < TWO_IMAGES else 1):
        shot = random.Random(rng.getrandbits(64))
        images.append(
            SCENES[domain](product, garment, shot, np.random.Generator(np.random.PCG64(shot.getrandbits(64))), side)
        )
    return SampleProduct(product.product_id, product.attributes, write_texts(product, rng), tuple(images))
