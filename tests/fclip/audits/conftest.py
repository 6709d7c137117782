"""A sound model and a small shop: fclip-tiny in the runtime, and products of the sample catalog."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fclip.audits.attributes import find_attributes
from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.registry import AuditPlan, Findings, NotMeasurable, audits
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct
from fclip.files import sha256_bytes
from fclip.runtime.loading import load
from fclip.sample.catalog import draw_products

RESAMPLING = Resampling(resamples=200, confidence=0.95, seed=0)
NUM_PRODUCTS = 150
DIM = 24


def audit_data(
    products: Sequence[CatalogProduct], derived: dict[str, Sequence[CatalogProduct]] | None = None
) -> AuditData:
    """The data of the products, with their attributes by the usual names."""
    return AuditData(
        dataset="studio",
        split="test",
        products=tuple(products),
        attributes=find_attributes(products, {}, "article_type"),
        resampling=RESAMPLING,
        derived={shift: tuple(copies) for shift, copies in (derived or {}).items()},
    )


def planned(kind: str, data: AuditData) -> AuditPlan:
    """The plan of an audit that can be made."""
    plan = audits()[kind].plan(data)
    assert not isinstance(plan, NotMeasurable), plan.reason
    return plan


def failed(kind: str, findings: Findings) -> bool:
    """Whether the whole interval of the headline exceeds the audit's limit."""
    assert findings.headline is not None, findings.not_measured
    return findings.headline.low > audits()[kind].limit


@dataclass
class Model:
    """Features by fclip-tiny, each input encoded once. `change_text`: what the text tower sees of a text."""

    images: dict[str, Image.Image]
    tiny: Any
    known: dict[str, np.ndarray] = field(default_factory=dict)

    def features(self, plan: AuditPlan, change_text: Callable[[str], str] = lambda text: text) -> PlanFeatures:
        return PlanFeatures(self._images(plan.images), self._texts([change_text(text) for text in plan.texts]))

    def _images(self, digests: Sequence[str]) -> np.ndarray:
        missing = [digest for digest in dict.fromkeys(digests) if digest not in self.known]
        if missing:
            vectors = self.tiny.embed_images([self.images[digest] for digest in missing])
            self.known.update(zip(missing, vectors, strict=True))
        return np.stack([self.known[digest] for digest in digests])

    def _texts(self, texts: Sequence[str]) -> np.ndarray:
        missing = [text for text in dict.fromkeys(texts) if f"text {text}" not in self.known]
        if missing:
            vectors = self.tiny.embed_texts(missing)
            self.known.update((f"text {text}", vector) for text, vector in zip(missing, vectors, strict=True))
        return np.stack([self.known[f"text {text}"] for text in texts])


@dataclass(frozen=True)
class Shop:
    """Products of the sample catalog, and fclip-tiny."""

    products: tuple[CatalogProduct, ...]
    model: Model


@pytest.fixture(scope="session")
def shop() -> Shop:
    products, images = [], {}
    for drawn in draw_products("studio", num_products=NUM_PRODUCTS, seed=1, side=112):
        content = drawn.images[0]
        digest = sha256_bytes(content)
        images[digest] = Image.open(BytesIO(content)).convert("RGB")
        long = f"{drawn.texts['highlights']}, {drawn.texts['description']}"
        captions = {"title": drawn.texts["title"], "highlights": long}
        product_id = drawn.product_id
        products.append(CatalogProduct(product_id, "test", product_id, digest, drawn.attributes, captions))
    return Shop(tuple(products), Model(images, load("fclip-tiny")))


def constant_features(plan: AuditPlan, value: float = np.nan) -> PlanFeatures:
    """A broken model: all features have one value, NaN by default."""
    return PlanFeatures(
        np.full((len(plan.images), DIM), value, np.float32), np.full((len(plan.texts), DIM), value, np.float32)
    )


@dataclass(frozen=True)
class Copies:
    """Derived copies of the products of `shop` by shift, whose pictures `shop.model` knows."""

    derived: dict[str, tuple[CatalogProduct, ...]]


@pytest.fixture(scope="session")
def copies(shop: Shop) -> Copies:
    """The product on white, in front of a coloured pattern, and blurred and dark."""
    derived: dict[str, list[CatalogProduct]] = {"white": [], "scene": [], "camera": []}
    for number, product in enumerate(shop.products):
        image = shop.model.images[product.image]
        pixels = np.asarray(image)
        ground = pixels.min(axis=2, keepdims=True) > 225
        random = np.random.default_rng(number)
        pattern = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize(image.size)
        pictures = {
            "white": Image.fromarray(np.where(ground, np.uint8(255), pixels)),
            "scene": Image.fromarray(np.where(ground, np.asarray(pattern), pixels)),
            "camera": Image.fromarray((np.asarray(image.filter(ImageFilter.GaussianBlur(1))) * 0.8).astype(np.uint8)),
        }
        for shift, picture in pictures.items():
            digest = f"{product.image} {shift}"
            shop.model.images[digest] = picture
            derived[shift].append(replace(product, image=digest))
    return Copies({shift: tuple(own) for shift, own in derived.items()})
