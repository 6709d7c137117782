"""The model that `mlflow.pyfunc.load_model("models:/<name>@champion")` returns: images or texts in, embeddings out.

MLflow runs this file ("models from code") with the fclip code that is stored with the version, so a loaded model needs
no checkout and unpickles nothing. Load two versions in two processes: both contain a package `fclip`, and one process
would import only the first.
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
DECODE_BATCH_SIZE = 1024


class ClipEmbedder(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Embeds rows that each contain an image or a text.

    Input: a DataFrame, a list of dicts or a dict of lists with the columns `image` (bytes of an image file, a path to
    one, or a `data:…;base64,` address) and `text` (a string). Every row has exactly one of the two.
    Output: float32 [num_rows, dim], one L2-normalised embedding per row. Images and texts share one space: the dot
    product of two rows is their cosine similarity.
    """

    def load_context(self, context: Any) -> None:
        """Load the weights. `load_model(..., model_config={"device": "cuda"})` sets the device."""
        from fclip.models.device import resolve_device
        from fclip.models.store import load

        self.device = resolve_device((context.model_config or {}).get("device", "cpu"))
        self.clip = load(Path(context.artifacts["open_clip"]), device=self.device)

    _skip_type_hint_validation = True  # otherwise MLflow warns at every load that `predict` has no type hints

    # No type hints: MLflow would derive a schema, and no schema can express "image bytes, a path, or a text".
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Embed `model_input`. Raises ValueError, with the row number, for an invalid row or an unreadable image."""
        from fclip.features.encode import encode_images, encode_texts
        from fclip.features.similarity import unit

        rows = _rows(model_input)
        for i, row in enumerate(rows):
            if len(row) != 1:
                raise ValueError(f"row {i} must have either an image or a text, not {'both' if row else 'neither'}")
        images = [i for i, row in enumerate(rows) if "image" in row]
        texts = [i for i, row in enumerate(rows) if "text" in row]
        parts = []
        for first in range(0, len(images), DECODE_BATCH_SIZE):
            pixels = np.stack([self._pixels(rows[i]["image"], i) for i in images[first : first + DECODE_BATCH_SIZE]])
            parts.append(encode_images(self.clip, pixels, batch_size=BATCH_SIZE))
        if texts:
            strings = [str(rows[i]["text"]) for i in texts]
            parts.append(encode_texts(self.clip, strings, batch_size=BATCH_SIZE))
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
    """Return a dict for each row with its values of `image` and `text` that are not missing."""
    if isinstance(model_input, pd.DataFrame):
        records = model_input.to_dict(orient="records")
    elif isinstance(model_input, Mapping):
        records = pd.DataFrame(dict(model_input)).to_dict(orient="records")
    elif isinstance(model_input, Sequence) and all(isinstance(row, Mapping) for row in model_input):
        records = [dict(row) for row in model_input]
    else:
        raise ValueError(
            "the input must be a DataFrame, a list of dicts or a dict of lists, with the columns `image` or `text`"
        )
    if unknown := sorted({str(key) for row in records for key in row} - {"image", "text"}):
        raise ValueError(f"unknown columns {', '.join(unknown)}; the input may have `image` and `text`")
    return [{str(key): value for key, value in row.items() if not _is_missing(value)} for row in records]


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _image_bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, str) and value.startswith("data:"):
        return base64.b64decode(value.partition(",")[2])
    return Path(value).read_bytes()


mlflow.models.set_model(ClipEmbedder())
