"""A registered version loads without the repository."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fclip.registry.backend import connect, registry_lock, tracking_uri
from fclip.registry.champion_alias import set_champion
from fclip.registry.log import RunRecord, register_version

LOADED = """
import sys
sys.path = [entry for entry in sys.path if entry not in ("", {repository!r})]
import base64, mlflow, numpy as np, pandas as pd
model = mlflow.pyfunc.load_model("models:/clip@champion")
import fclip
assert not fclip.__path__[0].startswith({repository!r}), fclip.__path__
image = open({image!r}, "rb").read()
address = "data:image/png;base64," + base64.b64encode(image).decode()
rows = pd.DataFrame({{"image": [image, None, {image!r}, address], "text": [None, "a red dress", None, None]}})
mixed = model.predict(rows)
texts = model.predict([{{"text": "a red dress"}}, {{"text": "boots"}}])
refused = []
for wrong in ([{{"image": image, "text": "both"}}], [{{}}], [{{"picture": image}}], [{{"image": b"no image"}}]):
    try:
        model.predict(wrong)
    except ValueError as error:
        refused.append(str(error))
np.savez({out!r}, mixed=mixed, texts=texts)
print("\\n".join(refused))
"""


def test_champion_loads_in_a_clean_process_without_the_repository(make_clip, tmp_path: Path) -> None:
    repository = str(Path(__file__).parents[3])
    register_version("clip", make_clip(0), RunRecord(params={}, points=(), headline={}, tags={}), run_name="test")
    with registry_lock("clip"):
        set_champion(connect(), "clip", 1)
    image = tmp_path / "red.png"
    buffer = io.BytesIO()
    Image.new("RGB", (50, 40), (200, 20, 20)).save(buffer, "PNG")
    image.write_bytes(buffer.getvalue())
    out = tmp_path / "out.npz"

    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FCLIP_HOME")}
    environment["MLFLOW_TRACKING_URI"] = tracking_uri()
    code = LOADED.format(repository=repository, image=str(image), out=str(out))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "cwd", env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    embeddings = np.load(out)
    mixed, texts = embeddings["mixed"], embeddings["texts"]
    assert mixed.shape == (4, 16)
    assert mixed.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([mixed, texts]), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(mixed[0], mixed[2], atol=1e-6)
    np.testing.assert_allclose(mixed[0], mixed[3], atol=1e-6)
    np.testing.assert_allclose(mixed[1], texts[0], atol=1e-5)
    refused = done.stdout.splitlines()
    assert refused[0] == "row 0 must have either an image or a text, not both"
    assert refused[1] == "row 0 must have either an image or a text, not neither"
    assert "picture" in refused[2]
    assert refused[3].startswith("row 0: ")
    assert "Warning" not in done.stderr
    assert list((tmp_path / "cwd").iterdir()) == []
