"""Load a stored version as a consumer does, in a clean process, and compare its embeddings with the pipeline's."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fclip.features.similarity import FloatArray
from fclip.registry.backend import tracking_uri
from fclip.registry.versions import VersionPin

TOLERANCE = 1e-4
TIMEOUT_SECONDS = 600
IN_CLEAN_PROCESS = """
import json, sys
from pathlib import Path
import mlflow, numpy as np, pandas as pd
uri, folder = sys.argv[1], Path(sys.argv[2])
model = mlflow.pyfunc.load_model(uri)
images = [path.read_bytes() for path in sorted(folder.glob("image-*"))]
texts = json.loads((folder / "texts.json").read_text())
arrays = {}
for name, column, values in (("images", "image", images), ("texts", "text", texts)):
    arrays[name] = np.asarray(model.predict(pd.DataFrame({column: values})), np.float32)
np.savez(folder / "embeddings.npz", **arrays)
"""


@dataclass(frozen=True)
class ReferenceEmbeddings:
    """Inputs, and the embeddings that the pipeline gives for them.

    Attributes:
        images: contents of image files. image_embeddings: float32 [images, d], L2-normalised.
        texts, text_embeddings: the same for texts.
    """

    images: tuple[bytes, ...]
    texts: tuple[str, ...]
    image_embeddings: FloatArray
    text_embeddings: FloatArray


def find_difference(pin: VersionPin, reference: ReferenceEmbeddings) -> str | None:
    """Return why the stored version does not give the embeddings of the pipeline, in a sentence; None if it does.

    MLflow loads the version in a new process, in an empty folder, with the code that is stored with the version.
    """
    with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
        folder = Path(temporary)
        for number, content in enumerate(reference.images):
            (folder / f"image-{number:06d}").write_bytes(content)
        (folder / "texts.json").write_text(json.dumps(reference.texts))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"MLFLOW_TRACKING_URI": tracking_uri(), "MLFLOW_DISABLE_TELEMETRY": "true"}
        uri = f"models:/{pin.registered_model}/{pin.version}"
        try:
            done = subprocess.run(
                [sys.executable, "-c", IN_CLEAN_PROCESS, uri, str(folder)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"the stored version gave no embeddings within {TIMEOUT_SECONDS} seconds"
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            return f"the stored version cannot be loaded and used through MLflow ({lines[-1][:300]})"
        with np.load(folder / "embeddings.npz") as found:
            return _difference("image", reference.image_embeddings, found["images"]) or _difference(
                "text", reference.text_embeddings, found["texts"]
            )


def _difference(kind: str, expected: FloatArray, found: FloatArray) -> str | None:
    if expected.shape != found.shape:
        return f"the stored version gives {kind} embeddings of shape {list(found.shape)}, not {list(expected.shape)}"
    largest = float(np.abs(expected - found).max(initial=0.0))
    if largest <= TOLERANCE:
        return None
    return f"the {kind} embeddings of the stored version differ from the pipeline's by {largest:.2g}"
