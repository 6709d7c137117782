"""What each side of a model depends on: models that share an image or text tower share what it gives.

A side is a tower and the projection after it. Where the projection is one matrix, features before it are kept under the
tower's digest, and the projection is applied when they are read: candidates that differ in their heads alone, and next
week's, whose towers are the same, encode nothing again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch

from fclip.features.similarity import FloatArray
from fclip.files import sha256_file, sha256_json
from fclip.models.split import BIAS, IMAGE_PROJECTIONS, IMAGE_TOWER, SCALE, TEXT_PROJECTIONS
from fclip.models.store import CONFIG, model_sha256, read_config
from fclip.models.weights import WEIGHTS, Weights, mix, open_weights, parts_of

Modality: TypeAlias = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
# The matrices of open_clip's towers, and whether their rows are outputs: ViT, timm; CLIP, CustomTextCLIP, transformers.
MATRICES: Mapping[Modality, Mapping[str, bool]] = {
    "image": {"visual.proj": False, "visual.head.proj.weight": True},
    "text": {"text_projection": False, "text.text_projection": False, "text.proj.weight": True},
}
PROJECTIONS: Mapping[Modality, tuple[str, ...]] = {"image": IMAGE_PROJECTIONS, "text": TEXT_PROJECTIONS}
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Tower:
    """One side of a model.

    Attributes:
        tower_sha256: digest of all that its features before the projection depend on; where `projection` is None, of
            all that its features do.
        projection: float32 [width, d]; None where it is no single matrix, and features are kept as they are.
    """

    tower_sha256: str
    projection: FloatArray | None

    def project(self, pooled: FloatArray) -> FloatArray:
        """Features [n, d] of what the tower gave, [n, width]. A row's do not depend on the rows beside it."""
        if self.projection is None or not len(pooled):
            return pooled
        matrix = torch.from_numpy(self.projection)
        features = np.empty((len(pooled), matrix.shape[1]), np.float32)
        block = torch.zeros(BLOCK_ROWS, matrix.shape[0])  # always as many rows: another number may round otherwise
        for begin in range(0, len(pooled), BLOCK_ROWS):
            rows = torch.from_numpy(np.ascontiguousarray(pooled[begin : begin + BLOCK_ROWS]))
            block[: len(rows)] = rows
            features[begin : begin + len(rows)] = (block @ matrix)[: len(rows)].numpy()
        return features


def towers_of(folder: Path) -> dict[Modality, Tower]:
    """Both sides of a model folder, by its weights; the model itself is not loaded, and a mixture's is not mixed.

    What a mixture's towers give is of the towers that are mixed, and of their shares where these differ.

    Raises:
        UserError: the weights cannot be read.
    """
    if parts := parts_of(folder):
        own = [towers_of(part.folder) for part in parts]
        shares = [part.share for part in parts]
        return {modality: _mixed([sides[modality] for sides in own], shares) for modality in MODALITIES}
    path = folder / WEIGHTS
    if not path.is_file():  # a model of another form: its sides are not told apart
        return _whole(folder)
    return _sides(folder, model_sha256(folder))


@lru_cache(maxsize=256)
def _sides(folder: Path, model_sha256: str) -> dict[Modality, Tower]:
    config = read_config(folder)
    others = {
        each.relative_to(folder).as_posix(): sha256_file(each)
        for each in sorted(folder.rglob("*"))
        if each.is_file() and each.name not in (CONFIG, WEIGHTS)
    }
    with open_weights(folder) as weights:
        names = sorted(set(weights.keys()) - {SCALE, BIAS})
        if len({name.startswith(IMAGE_TOWER) for name in names}) < 2:  # names that open_clip mends as it loads
            return _whole(folder)
        return {modality: _side(weights, names, modality, [config, others]) for modality in MODALITIES}


def _mixed(sides: Sequence[Tower], shares: Sequence[float]) -> Tower:
    digests = [side.tower_sha256 for side in sides]
    digest = digests[0] if len(set(digests)) == 1 else sha256_json([*zip(digests, shares, strict=True)])
    projections = [side.projection for side in sides if side.projection is not None]
    if len(projections) < len(sides):
        return Tower(digest, None)
    return Tower(digest, mix([torch.from_numpy(each) for each in projections], shares).numpy())


def _whole(folder: Path) -> dict[Modality, Tower]:
    return {modality: Tower(model_sha256(folder), None) for modality in MODALITIES}


def _side(weights: Weights, names: list[str], modality: Modality, rest: list[object]) -> Tower:
    own = [name for name in names if name.startswith(IMAGE_TOWER) == (modality == "image")]
    heads = [name for name in own if name.startswith(PROJECTIONS[modality])]
    rows_are_outputs = MATRICES[modality].get(heads[0]) if len(heads) == 1 else None
    projection = None
    if rows_are_outputs is not None:
        matrix = weights.get_tensor(heads[0]).float()
        projection = np.ascontiguousarray((matrix.T if rows_are_outputs else matrix).numpy())
        own.remove(heads[0])
    digest = sha256()
    for name in own:
        tensor = weights.get_tensor(name)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return Tower(sha256_json([digest.hexdigest(), *rest]), projection)
