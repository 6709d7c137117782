"""The model that `mlflow.pyfunc.load_model("models:/<name>@champion")` returns: images or texts in, embeddings out.

MLflow runs this file ("models from code") with the fclip code that is stored with the version, so a loaded model needs
no checkout and unpickles nothing. It runs on onnxruntime (`fclip.runtime`); torch is needed for `engine: torch` alone.
Load two versions in two processes: both contain a package `fclip`, and one process would import only the first.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from fclip.errors import UserError
from fclip.runtime import load
from fclip.runtime.images import data_address_bytes, read_file, read_pixels

COLUMNS = ("image", "image_url", "text")
DEFAULTS = {"engine": "onnx", "device": "cpu", "allow_paths": False}
BATCH_SIZE = 32


class InvalidInput(mlflow.MlflowException, ValueError):
    """An input that the model refuses. A server answers it with the status 400."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_code=mlflow.protos.databricks_pb2.INVALID_PARAMETER_VALUE)


class ClipModel(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]
    """Embeds rows that each contain an image or a text, or classifies images.

    Input: a DataFrame, or a list of dicts, with the columns `image` (bytes of an image file; base64 in JSON),
    `image_url` (a `data:…;base64,` address) and `text`. Every row has exactly one of the three.
    Output: float32 [rows, dim], one L2-normalised embedding per row. Images and texts share one space: the dot product
    of two rows is their cosine similarity.

    With `params={"classes": [name, …]}`: float32 [rows, classes], the probability of each class for each image. The
    optional param `templates` has texts with `{}` for the name, such as "a photo of a {}".

    `load_model(..., model_config={...})` sets `engine` ("onnx", or "torch", which needs the extra `pipeline`), `device`
    for torch ("cpu", "cuda"), and `allow_paths`: whether `image_url` may be the path of a local file.
    """

    _skip_type_hint_validation = True  # otherwise MLflow warns at every load that `predict` has no type hints

    def load_context(self, context: Any) -> None:
        """Load the model; raises MlflowException if it has no graphs, or for an invalid setting."""
        config = {**DEFAULTS, **(context.model_config or {})}
        self.allow_paths = config["allow_paths"] is True
        folder = Path(context.artifacts["open_clip"])
        try:
            self.model = _load(folder, str(config["engine"]), str(config["device"]))
        except UserError as error:
            raise InvalidInput(str(error)) from error

    # No type hints: MLflow would derive a schema, and none can express "image bytes, an address, or a text".
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Embed or classify `model_input`. Raises MlflowException (a ValueError), with the row, for an invalid row."""
        try:
            rows = [self._content(index, row) for index, row in enumerate(_rows(model_input))]
            classes, templates = (_strings(params, name) for name in ("classes", "templates"))
            if classes or templates:
                return self._classify(rows, classes, templates)
            return self._embed(rows)
        except UserError as error:
            raise InvalidInput(str(error)) from error

    def _embed(self, rows: Sequence[bytes | str]) -> np.ndarray:
        result = np.empty((len(rows), self.model.dim), np.float32)
        texts = [index for index, row in enumerate(rows) if isinstance(row, str)]
        if texts:
            result[texts] = self.model.embed_texts([str(rows[index]) for index in texts])
        images = [index for index, row in enumerate(rows) if not isinstance(row, str)]
        for start in range(0, len(images), BATCH_SIZE):
            batch = images[start : start + BATCH_SIZE]
            result[batch] = self.model.encode_pixels(np.stack([self._pixels(index, rows[index]) for index in batch]))
        return result

    def _classify(self, rows: Sequence[bytes | str], classes: list[str], templates: list[str]) -> np.ndarray:
        for index, row in enumerate(rows):
            if isinstance(row, str):
                raise UserError(f"row {index} has a text; only images can be classified")
        embedded = self.model.embed_classes(classes, templates)
        return np.asarray(self.model.class_probabilities(self._embed(rows), embedded))

    def _pixels(self, index: int, content: Any) -> np.ndarray:
        try:
            return read_pixels(content, self.model.manifest.image)
        except UserError as error:
            raise UserError(f"row {index}: {error}") from error

    def _content(self, index: int, row: Mapping[str, Any]) -> bytes | str:
        """Return the text of a row, or the content of its image file."""
        if len(row) != 1:
            names = ", ".join(sorted(row)) or "none of them"
            raise UserError(f"row {index} must have exactly one of {', '.join(COLUMNS)}; it has {names}")
        ((name, value),) = row.items()
        try:
            if name == "text":
                return _require(value, str, "text", "a string")
            if name == "image":
                return bytes(_require(value, bytes | bytearray | memoryview, "image", "bytes"))
            address = _require(value, str, "image_url", "a string")
            if address.startswith("data:"):
                return data_address_bytes(address)
            if "://" in address:
                raise UserError("remote addresses are not fetched; send the image as bytes or as a data address")
            if not self.allow_paths:
                raise UserError(
                    "image_url must be a data address; paths need model_config={'allow_paths': True} at loading"
                )
            return read_file(Path(address))
        except UserError as error:
            raise UserError(f"row {index}: {error}") from error


def signature() -> Any:
    """Return the signature of every version: optional columns, params with empty defaults, rows of numbers out."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    types = {"image": DataType.binary, "image_url": DataType.string, "text": DataType.string}
    return ModelSignature(
        inputs=Schema([ColSpec(types[name], name, required=False) for name in COLUMNS]),
        outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, -1))]),
        params=ParamSchema([ParamSpec(name, DataType.string, [], (-1,)) for name in ("classes", "templates")]),
    )


def input_example() -> pd.DataFrame:
    """Return an input that every version accepts."""
    return pd.DataFrame({"text": ["a red summer dress", "white sneakers"]})


def _load(folder: Path, engine: str, device: str) -> Any:
    if engine == "onnx":
        if device != "cpu":
            raise UserError(f"the engine onnx runs on the device cpu, not {device!r}; use engine torch")
        return load(folder)
    if engine != "torch":
        raise UserError(f"unknown engine {engine!r}; use onnx or torch")
    try:
        from fclip.features.torch_model import TorchModel
    except ModuleNotFoundError as error:
        raise UserError(f"the engine torch needs the package {error.name}; install fclip's extra pipeline") from error
    return TorchModel(folder, device)


def _rows(model_input: Any) -> list[dict[str, Any]]:
    """Return a dict for each row with its values that are not missing."""
    if isinstance(model_input, pd.DataFrame):
        records = model_input.to_dict(orient="records")
    elif isinstance(model_input, Mapping):
        records = pd.DataFrame(dict(model_input)).to_dict(orient="records")
    elif isinstance(model_input, Sequence) and all(isinstance(row, Mapping) for row in model_input):
        records = [dict(row) for row in model_input]
    else:
        raise InvalidInput(f"the input must be a DataFrame or a list of dicts, with the columns {', '.join(COLUMNS)}")
    if unknown := sorted({str(key) for row in records for key in row} - set(COLUMNS)):
        raise InvalidInput(f"unknown columns {', '.join(unknown)}; the input may have {', '.join(COLUMNS)}")
    return [{str(key): value for key, value in row.items() if not _is_missing(value)} for row in records]


def _strings(params: Mapping[str, Any] | None, name: str) -> list[str]:
    value = (params or {}).get(name)
    return [] if value is None else [str(entry) for entry in value]


def _require(value: Any, kind: Any, name: str, description: str) -> Any:
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {description}, not {type(value).__name__}")
    return value


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


mlflow.models.set_model(ClipModel())
