"""Export of a model as a folder that open_clip loads from any working directory, without this package.

`open_clip.create_model_and_transforms("local-dir:OUT")` and `open_clip.get_tokenizer("local-dir:OUT")` load it. A model
folder of the pipeline differs in one place: it calls the folder of a text tower of transformers ".", but open_clip
resolves `hf_model_name` against the working directory and has no name for the model's own folder. The export therefore
contains its absolute path. If such a folder is moved, the path in its config must be edited; its README says so.
open_clip reads the tokenizer and everything else from the folder that it is given.
"""

import io
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image

from fclip.errors import UserError
from fclip.export.parity import Parity, ParityInputs, drawn_inputs, pipeline_embeddings, require_parity
from fclip.features.similarity import FloatArray
from fclip.files import atomic_dir, atomic_write, is_occupied, read_json, write_json
from fclip.models import store
from fclip.models.folder import CONFIG, read_config
from fclip.models.weights import materialised

BATCH_SIZE = 32
README = "README.md"
USAGE = """\
# A CLIP model for open_clip

```python
import open_clip

model, _, preprocess = open_clip.create_model_and_transforms("local-dir:{folder}")
tokenizer = open_clip.get_tokenizer("local-dir:{folder}")
model.eval()
```
"""
MOVED = """
If you move this folder, edit `{config}`: set `model_cfg.text_cfg.hf_model_name` to the new absolute path of the
folder. open_clip resolves a relative path against the working directory, not against this folder.
"""


def export_open_clip(folder: Path, out_dir: Path, inputs: ParityInputs | None = None) -> Parity:
    """Write the model or mixture in `folder` to `out_dir` for open_clip, after comparing it with the pipeline.

    Args:
        out_dir: missing or empty; it appears complete or not at all.
        inputs: what to compare embeddings on; None for drawn products.

    Raises:
        UserError: `out_dir` is not empty, the folder contains no usable model, or the embeddings differ.
    """
    if is_occupied(out_dir):
        raise UserError(f"{out_dir} is not empty; name a new or an empty folder")
    inputs = inputs or drawn_inputs()
    final = out_dir.resolve()
    with materialised(folder) as source:
        clip = store.load(source)
        model_cfg = read_config(source)["model_cfg"]
    reference = pipeline_embeddings(clip, inputs)
    with atomic_dir(final) as temporary:
        store.write_model(clip.model, model_cfg, clip.tokenizer, temporary)
        _set_text_folder(temporary, temporary)
        parity = require_parity(
            *reference, *_embeddings(temporary, inputs), inputs, export=f"{folder} in open_clip's format"
        )
        names_its_path = _set_text_folder(temporary, final)
        usage = USAGE.format(folder=final) + (MOVED.format(config=CONFIG) if names_its_path else "")
        atomic_write(temporary / README, usage)
    return parity


def _set_text_folder(folder: Path, path: Path) -> bool:
    """Set the folder of the text tower's config to `path`, if it is a tower of transformers; return whether it is."""
    stored = read_json(folder / CONFIG)
    text_cfg = stored["model_cfg"]["text_cfg"]
    if not text_cfg.get("hf_model_name"):
        return False
    text_cfg["hf_model_name"] = str(path)
    write_json(folder / CONFIG, stored)
    return True


def _embeddings(folder: Path, inputs: ParityInputs) -> tuple[FloatArray, FloatArray]:
    """Return the embeddings of the images and all texts, computed by open_clip alone."""
    name = f"local-dir:{folder}"
    with store.quiet():
        model, _, preprocess = open_clip.create_model_and_transforms(name)
        tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    images, texts = [], []
    with torch.inference_mode():
        for begin in range(0, len(inputs.images), BATCH_SIZE):
            batch = [Image.open(io.BytesIO(content)) for content in inputs.images[begin : begin + BATCH_SIZE]]
            images.append(model.encode_image(torch.stack([preprocess(image) for image in batch])).numpy())
        for begin in range(0, len(inputs.all_texts), BATCH_SIZE):
            texts.append(model.encode_text(tokenizer(inputs.all_texts[begin : begin + BATCH_SIZE])).numpy())
    return np.concatenate(images), np.concatenate(texts)
