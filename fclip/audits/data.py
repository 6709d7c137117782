"""What an audit reads: the products of a report split, their derived copies, and the attributes by their meaning."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import CatalogProduct
from fclip.features.similarity import FloatArray


@dataclass(frozen=True)
class Attributes:
    """The names of the attributes with a meaning for audits; None: the catalog has no such attribute."""

    category: str | None = None
    colour: str | None = None
    pattern: str | None = None
    gender: str | None = None
    brand: str | None = None
    price: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class AuditData:
    """The data of the audits of one split.

    Attributes:
        products: the audited products, with their captions.
        derived: copies of them by shift: "white" (white repaste), "scene", "camera", ...; the copies have the product
            ids of their originals, and products that could not be copied are missing.
    """

    dataset: str
    split: str
    products: tuple[CatalogProduct, ...]
    attributes: Attributes
    resampling: Resampling
    derived: Mapping[str, tuple[CatalogProduct, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanFeatures:
    """Features of one model of the images and the texts of a plan, in their order.

    Attributes:
        images: float32 [number of images, d], not normalised. texts: the same for the texts.
    """

    images: FloatArray
    texts: FloatArray
