"""What `mlflow.pyfunc.load_model("models:/<name>@champion")` gives: images or texts in, embeddings out.

MLflow runs this file itself ("models from code"), with the project's package that the version brings along, so a
loaded model needs neither a checkout nor anything unpickled. Load two versions in two processes: both bring a
package named `fclip`, and only the first of them would be imported.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

BATCH_SIZE = 64
DECODED_AT_ONCE = 1024


class ClipEmbedder(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Embeds rows, each with an image or a text.

    Input: a DataFrame, a list of dicts or a dict of lists with the columns `image` (the bytes of an image file, a
    path to one, or a `data:…;base64,` address) and/or `text` (a string); every row fills exactly one of them.
    Output: float32 [num_rows, dim], one L2-normalised embedding a row, images and texts in one space: the product
    of two rows is their cosine similarity.
    """

    def load_context(self, context: Any) -> None:
        """Load the weights; `device` may be set by `load_model(..., model_config={"device": "cuda"})`."""
        from fclip.models.device import resolve_device
        from fclip.models.store import load

        self.device = resolve_device((context.model_config or {}).get("device", "cpu"))
        self.clip = load(Path(context.artifacts["open_clip"]), device=self.device)

    _skip_type_hint_validation = True  # else MLflow warns at every load that `predict` has none

    # No type hints: MLflow would make a schema of them, and no schema says "bytes or a path, or else a text".
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Embed `model_input`; raises ValueError naming the row that holds neither or both, or no image."""
        from fclip.features.encode import encode_images, encode_texts
        from fclip.features.similarity import unit

        rows = _rows(model_input)
        for i, row in enumerate(rows):
            if len(row) != 1:
                raise ValueError(f"row {i} must hold either an image or a text, not {'both' if row else 'neither'}")
        images = [i for i, row in enumerate(rows) if "image" in row]
        texts = [i for i, row in enumerate(rows) if "text" in row]
        parts = []
        for first in range(0, len(images), DECODED_AT_ONCE):
            pixels = np.stack([self._pixels(rows[i]["image"], i) for i in images[first : first + DECODED_AT_ONCE]])
            parts.append(encode_images(self.clip, pixels, batch_size=BATCH_SIZE))
        if texts:
            wanted = [str(rows[i]["text"]) for i in texts]
            parts.append(encode_texts(self.clip, wanted, batch_size=BATCH_SIZE))
        if not parts:
            return np.empty((0, 0), np.float32)
        in_order = np.argsort([*images, *texts])
        return unit(np.concatenate(parts)[in_order])

    def _pixels(self, image: Any, row: int) -> np.ndarray:
        from fclip.images.pixels import decode

        try:
            return decode(_image_bytes(image), self.clip.preprocess)
        except (OSError, ValueError) as error:
            raise ValueError(f"row {row}: {error}") from error


def _rows(model_input: Any) -> list[dict[str, Any]]:
    """One dict a row with what it fills among `image` and `text`."""
    if isinstance(model_input, pd.DataFrame):
        records = model_input.to_dict(orient="records")
    elif isinstance(model_input, Mapping):
        records = pd.DataFrame(dict(model_input)).to_dict(orient="records")
    elif isinstance(model_input, Sequence) and all(isinstance(row, Mapping) for row in model_input):
        records = [dict(row) for row in model_input]
    else:
        raise ValueError("the input must be a DataFrame, a list of dicts or a dict of lists, with `image` or `text`")
    if unknown := sorted({str(key) for row in records for key in row} - {"image", "text"}):
        raise ValueError(f"unknown columns {', '.join(unknown)}: the input has `image` and `text`")
    return [{str(key): value for key, value in row.items() if not _absent(value)} for row in records]


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _image_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and value.startswith("data:"):
        return base64.b64decode(value.partition(",")[2])
    return Path(value).read_bytes()


mlflow.models.set_model(ClipEmbedder())
