"""Images and texts in, L2-normalised embeddings out, with onnxruntime, tokenizers, numpy and Pillow.

    from fclip.runtime import load

    model = load("fclip-tiny")                       # or a folder that `fclip export onnx` wrote
    images = model.embed_images(["shoe.jpg"])        # float32 [1, dim]
    texts = model.embed_texts(["a red shoe"])        # float32 [1, dim]
    similarity = images @ texts.T

This package imports neither torch nor open_clip.
"""

from fclip.runtime.load import load
from fclip.runtime.model import Model

__all__ = ["Model", "load"]
