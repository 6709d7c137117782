"""Distillation of image embeddings (feature regression) from another model, the teacher.

The teacher's embeddings come from a file, so that the teacher itself is not needed in training. Its space is another
one, perhaps of another dimension, and the texts of the model in training live in the space of its base model. So the
embeddings are first moved there, by the translation, rotation and scale that bring them nearest to the base model's
features of the same products (Procrustes analysis: Schönemann 1966). Distances among products stay those of the
teacher; if its dimension is higher, those of its projection.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.models.split_tower import SplitTower
from fclip.models.store import Clip
from fclip.training.objectives import unit

logger = logging.getLogger(__name__)
MIN_PRODUCTS = 2


def load_targets(
    path: Path, clip: Clip, pooled: torch.Tensor, images: NDArray[np.int64], ids: list[str]
) -> torch.Tensor:
    """Return the features that products should have, float32 [n, d] of unit length; NaN where the teacher has none.

    Args:
        path: the teacher's embeddings, as in `read_teacher`.
        clip: the base model.
        pooled: float32 [images, width], output of its image tower before the projection.
        images: int64 [n], the row of each product's primary image in `pooled`.
        ids: the ids of the products.

    Raises:
        UserError: as in `read_teacher`, or the image tower has no projection.
    """
    teacher = read_teacher(path, ids)
    with torch.no_grad():
        base = unit(SplitTower.of_images(clip.model).project(pooled[torch.from_numpy(images)])).cpu()
    return move_to_base(teacher, base)


def read_embeddings(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return the ids and the embeddings, float32 [n, D], of a Parquet file with the columns `id` and `embedding`.

    Raises:
        UserError: the file cannot be read or has other columns, an id occurs twice, or embeddings differ in length, are
            not finite or zero.
    """
    try:
        table = pq.read_table(path, columns=["id", "embedding"])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a Parquet file with the columns id and embedding ({error})") from error
    if not table.num_rows:
        raise UserError(f"{path}: has no rows")
    ids = [str(each) for each in table["id"].to_pylist()]
    if twice := next((name for name, count in Counter(ids).items() if count > 1), None):
        raise UserError(f"{path}: the id {twice} occurs more than once")
    return ids, _matrix(path, table["embedding"].combine_chunks())


def read_teacher(path: Path, product_ids: Sequence[str]) -> torch.Tensor:
    """Return the teacher's embeddings of `product_ids`, float32 [n, D], unit length; NaN for products it lacks.

    Raises:
        UserError: as in `read_embeddings`; product ids are not unique; or fewer than two products have an embedding.
    """
    ids, embeddings = read_embeddings(path)
    if repeated := len(product_ids) - len(set(product_ids)):
        raise UserError(
            f"{repeated} training products share their id with a product of another dataset, so that ids in {path} do "
            "not name products; train on one dataset to distil"
        )
    row_of = {name: row for row, name in enumerate(ids)}
    rows = torch.tensor([row_of.get(name, -1) for name in product_ids])
    found = int((rows >= 0).sum())
    if found < MIN_PRODUCTS:
        raise UserError(
            f"{path}: {found} of {len(product_ids)} training products have an embedding; its first id is {ids[0]}, "
            f"that of the first product {product_ids[0]}"
        )
    if found < len(product_ids):
        logger.warning(
            "The teacher has no embedding of %d of %d training products; they train without it",
            len(product_ids) - found,
            len(product_ids),
        )
    teacher = torch.full((len(product_ids), embeddings.shape[1]), float("nan"))
    teacher[rows >= 0] = unit(torch.from_numpy(embeddings)[rows[rows >= 0]])
    return teacher


def move_to_base(teacher: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Return the teacher's embeddings in the space of the base model: float32 [n, d], unit length, NaN where missing.

    Args:
        teacher: float32 [n, D], NaN for missing products.
        base: float32 [n, d], features of the same products by the base model, unit length.
    """
    known = ~teacher.isnan().any(dim=1)
    source, target = teacher[known].double(), base[known].double()
    source_mean, target_mean = source.mean(dim=0), target.mean(dim=0)
    source, target = source - source_mean, target - target_mean
    left, _, right = torch.linalg.svd(source.T @ target, full_matrices=False)
    rotated = source @ (left @ right)
    size = rotated.norm()
    scale = target.norm() / size if size > 0 else 1.0  # as spread as the base model's features
    moved = torch.full((len(teacher), base.shape[1]), float("nan"))
    moved[known] = unit(rotated * scale + target_mean)
    return moved


def regression_loss(
    images: torch.Tensor, targets: torch.Tensor, mean: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Return the sum of 1 − cosine over the rows with a target, divided by the mean of their number (at least 1).

    Args:
        images, targets: [n, d], unit length; rows of NaN are no targets.
        mean: the mean of a scalar over the processes, so that each row weighs the same in all of them.
    """
    known = ~targets.isnan().any(dim=1)
    differences = 1 - (images * targets.nan_to_num()).sum(dim=1)
    return (differences * known).sum() / mean(known.float().sum()).clamp_min(1)


def _matrix(path: Path, column: pa.Array) -> NDArray[np.float32]:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in lists):
        raise UserError(f"{path}: the column embedding must have lists of numbers, not {column.type}")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1 or None in lengths:
        raise UserError(f"{path}: embeddings must be of one length, but have {', '.join(sorted(map(str, lengths)))}")
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if flat.dtype.kind not in "fiu":
        raise UserError(f"{path}: the column embedding must have lists of numbers, not {column.type}")
    matrix: NDArray[np.float32] = np.asarray(flat, np.float32).reshape(len(column), -1)
    if not np.isfinite(matrix).all() or not np.abs(matrix).max(axis=1, initial=0).all():
        raise UserError(f"{path}: embeddings must be finite and not zero")
    return matrix
