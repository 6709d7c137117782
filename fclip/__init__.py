"""Retrain CLIP on a product catalog, and prove that the new model is better."""

TYPE_CHECKING = False  # as in `typing`, which takes longer to import than this package
if TYPE_CHECKING:
    from fclip.fashion_clip import FashionCLIP, FCLIPDataset

__all__ = ["FCLIPDataset", "FashionCLIP"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from fclip import fashion_clip  # imports numpy and onnxruntime

        return getattr(fashion_clip, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
