"""Side by side with the package fashion-clip itself, with the same weights, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.embed.package import install_fashion_clip
from fclip import FashionCLIP, FCLIPDataset
from fclip.errors import UserError
from tests.fclip.fashion_clip.conftest import TEXTS, Converted

READER = """
import json, sys
import numpy as np
from PIL import Image
import fashion_clip.fashion_clip as package
from fashion_clip.fashion_clip import FashionCLIP, FCLIPDataset

model, inputs, out = sys.argv[1:]
package._is_hugging_face_repo = lambda *_: True  # a folder, which transformers loads
package._model_processor_hash = lambda *_: "no commit"
given = json.loads(inputs)
dataset = FCLIPDataset("shop", given["folder"], "local", catalog=given["catalog"])
fclip = FashionCLIP(model, dataset, approx=False)
opened = [Image.open(path).copy() for path in given["images"]]
np.savez(
    out,
    images=fclip.encode_images(given["images"], batch_size=3),
    opened=fclip.encode_images(opened, batch_size=4),
    texts=fclip.encode_text(given["texts"], batch_size=3),
    labels=fclip.zero_shot_classification(given["images"], given["texts"]),
    rows=fclip.retrieval(given["texts"], top_k=3),
    image_vectors=fclip.image_vectors,
    textual_vectors=fclip.textual_vectors,
    hash=dataset.hash(),
    paths=dataset.images_path,
    ids=dataset.ids,
)
"""


@pytest.mark.slow
def test_results_equal_those_of_the_package(converted: Converted, images: list[str], tmp_path: Path) -> None:
    try:
        overlay = install_fashion_clip(tmp_path / "packages")
    except UserError as error:
        pytest.skip(str(error))
    catalog = [
        {"id": number, "image": Path(path).name, "caption": TEXTS[number]} for number, path in enumerate(images[:6])
    ]
    given: dict[str, Any] = {
        "folder": str(Path(images[0]).parent),
        "catalog": catalog,
        "images": images,
        "texts": TEXTS[:6],
    }
    arguments = [str(converted.folder), json.dumps(given), str(tmp_path / "package.npz")]
    environment = {**os.environ, "PYTHONPATH": str(overlay), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run([sys.executable, "-c", READER, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = np.load(tmp_path / "package.npz")

    dataset = FCLIPDataset("shop", given["folder"], "local", catalog=catalog)
    ours = FashionCLIP(str(converted.folder), dataset, approx=False)
    for name, features in {
        "images": ours.encode_images(images, batch_size=3),
        "opened": ours.encode_images([Image.open(path) for path in images], batch_size=4),
        "texts": ours.encode_text(given["texts"], batch_size=3),
        "image_vectors": ours.image_vectors,
        "textual_vectors": ours.textual_vectors,
    }.items():
        assert features.dtype == theirs[name].dtype
        np.testing.assert_allclose(features, theirs[name], atol=1e-4, rtol=0, err_msg=name)
    assert ours.zero_shot_classification(images, given["texts"]) == theirs["labels"].tolist()
    rows = ours.retrieval(given["texts"], top_k=3)
    assert isinstance(rows, np.ndarray)
    np.testing.assert_array_equal(rows, theirs["rows"])
    assert dataset.hash() == str(theirs["hash"])
    np.testing.assert_array_equal(dataset.images_path, theirs["paths"])
    np.testing.assert_array_equal(dataset.ids, theirs["ids"])
