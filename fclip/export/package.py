"""The package of a model: a folder that open_clip, the runtime and any ONNX runtime load, with a model card.

A version in the registry stores this folder, and `fclip export hub` writes it for upload. It is a model folder
(`fclip.models.folder`) with a few more files; the weights are in it once.
"""

from pathlib import Path

from fclip.export.onnx import write_runtime_folder
from fclip.export.parity import Parity, ParityInputs
from fclip.files import atomic_dir
from fclip.models import store
from fclip.models.folder import CARD, WEIGHT_SUFFIXES
from fclip.models.mixtures import MIXTURE


def write_package(folder: Path, out_dir: Path, inputs: ParityInputs | None = None, *, card: str) -> Parity:
    """Write the package of the model in `folder` to `out_dir`. Existing content of `out_dir` is replaced.

    Args:
        inputs: images and texts of the parity check; None for drawn products.
        card: the model card in Markdown, which becomes README.md.

    Raises:
        UserError: the model cannot be loaded or exported, or the runtime gives other embeddings. Nothing is written.
    """
    clip = store.load(folder)
    with atomic_dir(out_dir) as temporary:
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.suffix not in WEIGHT_SUFFIXES and file.name not in (MIXTURE, CARD):
                (temporary / file.name).write_bytes(file.read_bytes())
        (temporary / CARD).write_text(card, encoding="utf-8")
        return write_runtime_folder(clip, temporary, inputs)
