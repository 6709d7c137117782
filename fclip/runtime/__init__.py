"""Images and texts in, L2-normalised embeddings out, with onnxruntime, tokenizers, numpy and Pillow.

    from fclip.runtime import load

    model = load("fclip-tiny")                       # or a folder that `fclip export onnx` wrote
    images = model.embed_images(["shoe.jpg"])        # float32 [1, dim]
    texts = model.embed_texts(["a red shoe"])        # float32 [1, dim]
    similarity = images @ texts.T

This package imports neither torch nor open_clip.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fclip.runtime.loading import load
    from fclip.runtime.model import Model

__all__ = ["Model", "load"]


def __getattr__(name: str) -> Any:
    """Import `Model` and `load` on first use, because stages import light modules of this package."""
    if name == "load":
        from fclip.runtime.loading import load

        return load
    if name == "Model":
        from fclip.runtime.model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
