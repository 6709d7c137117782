"""Identification of equal towers, so that models share the cached features of an image or text tower.

If the projection of a tower is one matrix, the features before it are cached under the digest of the tower without its
projection, and the projection is applied when they are read. Models that differ only in their projections then encode
each input once.
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
from fclip.files import sha256_json
from fclip.models.digests import file_sha256, model_sha256
from fclip.models.folder import CONFIG, IMAGE_TOWER, WEIGHTS, read_config
from fclip.models.mixtures import mixture_parts
from fclip.models.split_tower import BIAS, IMAGE_PROJECTIONS, SCALE, TEXT_PROJECTIONS
from fclip.models.weights import Weights, mix, open_weights

Modality: TypeAlias = Literal["image", "text"]
MODALITIES: tuple[Modality, ...] = ("image", "text")
# Projections of open_clip's towers and whether their rows are outputs: ViT, timm; CLIP, CustomTextCLIP, transformers.
MATRICES: Mapping[Modality, Mapping[str, bool]] = {
    "image": {"visual.proj": False, "visual.head.proj.weight": True},
    "text": {"text_projection": False, "text.text_projection": False, "text.proj.weight": True},
}
PROJECTIONS: Mapping[Modality, tuple[str, ...]] = {"image": IMAGE_PROJECTIONS, "text": TEXT_PROJECTIONS}
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Tower:
    """An image or text tower of a model.

    Attributes:
        tower_sha256: digest of everything that the cached features depend on.
        projection: float32 [width, d], to apply to cached features; None if the projection is not a single matrix, and
            the cached features are the final ones.
    """

    tower_sha256: str
    projection: FloatArray | None

    def project(self, pooled: FloatArray) -> FloatArray:
        """Project cached features [n, width] to [n, d]. The result of a row does not depend on the other rows."""
        if self.projection is None or not len(pooled):
            return pooled
        matrix = torch.from_numpy(self.projection)
        features = np.empty((len(pooled), matrix.shape[1]), np.float32)
        block = torch.zeros(BLOCK_ROWS, matrix.shape[0])  # fixed number of rows: other numbers may round differently
        for begin in range(0, len(pooled), BLOCK_ROWS):
            rows = torch.from_numpy(np.ascontiguousarray(pooled[begin : begin + BLOCK_ROWS]))
            block[: len(rows)] = rows
            features[begin : begin + len(rows)] = (block @ matrix)[: len(rows)].numpy()
        return features


def read_towers(folder: Path) -> dict[Modality, Tower]:
    """Return both towers of a model folder or mixture, from its weights and without loading the model.

    The digest of a mixture's tower is derived from the digests of the averaged towers and, if they differ, the shares.

    Raises:
        UserError: the weights cannot be read.
    """
    if parts := mixture_parts(folder):
        towers = [read_towers(part.folder) for part in parts]
        shares: dict[Modality, list[float]] = {
            "image": [part.share for part in parts],
            "text": [part.share_of_texts for part in parts],
        }
        return {modality: _mix_towers([each[modality] for each in towers], shares[modality]) for modality in MODALITIES}
    path = folder / WEIGHTS
    if not path.is_file():  # another weights file: the towers are not separated
        return _unseparated(folder)
    return _separate_towers(folder, model_sha256(folder))


@lru_cache(maxsize=256)
def _separate_towers(folder: Path, model_sha256: str) -> dict[Modality, Tower]:
    config = read_config(folder)
    others = {
        each.relative_to(folder).as_posix(): file_sha256(each)
        for each in sorted(folder.rglob("*"))
        if each.is_file() and each.name not in (CONFIG, WEIGHTS)
    }
    with open_weights(folder) as weights:
        names = sorted(set(weights.keys()) - {SCALE, BIAS})
        if len({name.startswith(IMAGE_TOWER) for name in names}) < 2:  # names that open_clip converts on loading
            return _unseparated(folder)
        return {modality: _read_tower(weights, names, modality, [config, others]) for modality in MODALITIES}


def _mix_towers(towers: Sequence[Tower], shares: Sequence[float]) -> Tower:
    if 1.0 in shares:
        return towers[shares.index(1.0)]
    digests = [tower.tower_sha256 for tower in towers]
    digest = digests[0] if len(set(digests)) == 1 else sha256_json([*zip(digests, shares, strict=True)])
    projections = [tower.projection for tower in towers if tower.projection is not None]
    if len(projections) < len(towers):
        return Tower(digest, None)
    return Tower(digest, mix([torch.from_numpy(each) for each in projections], shares).numpy())


def _unseparated(folder: Path) -> dict[Modality, Tower]:
    return {modality: Tower(model_sha256(folder), None) for modality in MODALITIES}


def _read_tower(weights: Weights, names: list[str], modality: Modality, rest: list[object]) -> Tower:
    tower_names = [name for name in names if name.startswith(IMAGE_TOWER) == (modality == "image")]
    heads = [name for name in tower_names if name.startswith(PROJECTIONS[modality])]
    rows_are_outputs = MATRICES[modality].get(heads[0]) if len(heads) == 1 else None
    projection = None
    if rows_are_outputs is not None:
        matrix = weights.get_tensor(heads[0]).float()
        projection = np.ascontiguousarray((matrix.T if rows_are_outputs else matrix).numpy())
        tower_names.remove(heads[0])
    digest = sha256()
    for name in tower_names:
        tensor = weights.get_tensor(name)
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return Tower(sha256_json([digest.hexdigest(), *rest]), projection)
