"""Retrain CLIP on a product catalog, and prove that the new model is better."""

from importlib import import_module

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than this package
if TYPE_CHECKING:
    from fclip.fashion_clip import FashionCLIP, FCLIPDataset
    from fclip.search.index import Index

__all__ = ["FCLIPDataset", "FashionCLIP", "Index"]

_MODULES = {"FCLIPDataset": "fclip.fashion_clip", "FashionCLIP": "fclip.fashion_clip", "Index": "fclip.search.index"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)  # imports numpy and more
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
