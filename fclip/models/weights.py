"""The tensors of a model folder: those of its file, or a mixture of other folders' (weight averaging).

A mixture is a folder with `mixture.json` in place of weights: it names the folders that it is made of, from itself, and
how much of each. So a grid of interpolations takes hardly any room, and each is computed when it is loaded. Its digest
is that of the folder that `write_mixed` makes of it.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from fclip.errors import UserError
from fclip.files import read_json, sha256_file, sha256_json, write_json

WEIGHTS = "open_clip_model.safetensors"
MIXTURE = "mixture.json"
WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pth", ".pt", ".npz", ".msgpack", ".h5", ".onnx"}


class Weights(Protocol):
    """Tensors by name."""

    def keys(self) -> Sequence[str]: ...

    def get_tensor(self, name: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class MixturePart:
    """A model folder, and its share of a mixture."""

    folder: Path
    share: float


@dataclass(frozen=True)
class Mixed:
    """The tensors of several folders, mixed by their shares."""

    parts: Sequence[Weights]
    shares: Sequence[float]

    def keys(self) -> Sequence[str]:
        return list(self.parts[-1].keys())

    def get_tensor(self, name: str) -> torch.Tensor:
        return mix([part.get_tensor(name) for part in self.parts], self.shares)


def mix(tensors: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """first + Σ share · (tensor − first) over the others, in float32: equal tensors stay as they are, to the bit.

    Counters (tensors of integers) are not mixed: the last is taken.
    """
    if not tensors[-1].is_floating_point():
        return tensors[-1]
    first = tensors[0].float()
    mixed = first.clone()
    for tensor, share in zip(tensors[1:], shares[1:], strict=True):
        mixed += share * (tensor.float() - first)
    return mixed


@contextmanager
def open_weights(folder: Path) -> Iterator[Weights]:
    """Within, the tensors of a model folder with `WEIGHTS` or a mixture; each is read, or mixed, when it is asked for.

    Raises:
        UserError: a file cannot be read, or a part of a mixture is gone.
    """
    with ExitStack() as stack:
        parts = parts_of(folder)
        for part in parts:
            if not (part.folder / WEIGHTS).is_file():
                raise UserError(f"{folder / MIXTURE} is of {part.folder}, which holds no {WEIGHTS}")
        files = [part.folder / WEIGHTS for part in parts] or [folder / WEIGHTS]
        try:
            opened = [stack.enter_context(safe_open(path, framework="pt")) for path in files]
        except (SafetensorError, OSError) as error:
            raise UserError(f"{folder}: the weights cannot be read: {error}") from error
        yield Mixed(opened, [part.share for part in parts]) if parts else opened[0]


def parts_of(folder: Path) -> list[MixturePart]:
    """What a mixture is made of; nothing where the folder is none."""
    path = folder / MIXTURE
    if not path.is_file():
        return []
    return [MixturePart((folder / part["folder"]).resolve(), part["share"]) for part in read_json(path)["parts"]]


def write_mixture(folder: Path, parts: Sequence[MixturePart]) -> None:
    """Make `folder` (existing and empty) the mixture of `parts`, whose shares sum to 1; config files are the last's.

    Raises:
        UserError: their tensors are not of the same names.
    """
    if different := [part.folder for part in parts if not same_names(part.folder, parts[-1].folder)]:
        raise UserError(f"models of different kinds cannot be averaged: {different[0]} and {parts[-1].folder}")
    for file in sorted(parts[-1].folder.iterdir()):
        if file.is_file() and file.suffix not in WEIGHT_SUFFIXES:
            (folder / file.name).write_bytes(file.read_bytes())
    described = {
        "parts": [
            {"folder": os.path.relpath(part.folder.resolve(), folder.resolve()), "share": part.share} for part in parts
        ]
    }
    write_json(folder / MIXTURE, described)
    with open_weights(folder) as weights:
        content = save({name: weights.get_tensor(name) for name in weights.keys()})  # noqa: SIM118
    write_json(folder / MIXTURE, {**described, "weights_sha256": sha256(content).hexdigest()})


def same_names(folder: Path, other: Path) -> bool:
    """Whether two folders hold `WEIGHTS` with tensors of the same names, so that they can be mixed."""
    if not all((each / WEIGHTS).is_file() for each in (folder, other)):
        return False
    with open_weights(folder) as weights, open_weights(other) as others:
        return set(weights.keys()) == set(others.keys())


def write_mixed(folder: Path, out_dir: Path) -> None:
    """Write the model folder that the mixture `folder` stands for to `out_dir` (existing and empty).

    Raises:
        UserError: it is another than it was when it was mixed, since a part changed.
    """
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != MIXTURE:
            (out_dir / file.name).write_bytes(file.read_bytes())
    with open_weights(folder) as weights:
        write_state({name: weights.get_tensor(name) for name in weights.keys()}, out_dir)  # noqa: SIM118
    if sha256_file(out_dir / WEIGHTS) != read_json(folder / MIXTURE)["weights_sha256"]:
        raise UserError(f"{folder} is mixed from other weights than it was: run the stage `average` again")


def write_state(state: Mapping[str, torch.Tensor], out_dir: Path) -> None:
    """Write a model's state to `out_dir` as safetensors."""
    tensors = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, out_dir / WEIGHTS)
    (out_dir / WEIGHTS).chmod(0o644)


def distance(folder: Path, base_model: Path) -> float:
    """How far a model is from its base model: ‖θ − θ₀‖ / ‖θ₀‖ over all tensors but counters.

    inf where it is not finite, or where the two are of different kinds.
    """
    if not parts_of(folder) and not same_names(folder, base_model):
        return math.inf
    moved = length = 0.0
    with open_weights(folder) as weights, open_weights(base_model) as before:
        for name in weights.keys():  # noqa: SIM118
            tensor, own = weights.get_tensor(name), before.get_tensor(name)
            if tensor.shape != own.shape:
                return math.inf
            if tensor.is_floating_point():
                moved += float(torch.linalg.vector_norm(tensor.float() - own.float(), dtype=torch.float64)) ** 2
                length += float(torch.linalg.vector_norm(own.float(), dtype=torch.float64)) ** 2
    found = math.sqrt(moved / length) if length else math.inf
    return found if math.isfinite(found) else math.inf


def tree_sha256(folder: Path) -> str:
    """Hex SHA-256 of a model folder, as `fclip.files.sha256_tree` gives it; of a mixture, of what it stands for."""
    mixture = folder / MIXTURE
    files = {path.relative_to(folder): _file_sha256(path) for path in folder.rglob("*") if path.is_file()}
    if files.pop(Path(MIXTURE), None) is not None:
        files[Path(WEIGHTS)] = read_json(mixture)["weights_sha256"]
    return sha256_json([[path.as_posix(), files[path]] for path in sorted(files)])


def _file_sha256(path: Path) -> str:
    """Weights are asked for again and again: their digest is found once, unless the file changes."""
    status = path.stat()
    return _sha256_of(path, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256_of(path: Path, *_: int) -> str:
    return sha256_file(path)
