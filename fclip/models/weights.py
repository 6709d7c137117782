"""The weights of model folders: stored tensors, or a mixture's weighted average of other folders' tensors."""

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file

from fclip.errors import CannotAverageError, UserError
from fclip.files import read_json, sha256_file, write_json
from fclip.models.folder import IMAGE_TOWER, WEIGHT_SUFFIXES, WEIGHTS
from fclip.models.mixtures import MIXTURE, MixturePart, mixture_parts


class Weights(Protocol):
    """Tensors by name."""

    def keys(self) -> Sequence[str]: ...

    def get_tensor(self, name: str) -> torch.Tensor: ...


@dataclass(frozen=True)
class MixedWeights:
    """The tensors of several folders, averaged with weights `shares` in the image tower and `text_shares` elsewhere."""

    parts: Sequence[Weights]
    shares: Sequence[float]
    text_shares: Sequence[float]

    def keys(self) -> Sequence[str]:
        return list(self.parts[-1].keys())

    def get_tensor(self, name: str) -> torch.Tensor:
        shares = self.shares if name.startswith(IMAGE_TOWER) else self.text_shares
        return mix([part.get_tensor(name) for part in self.parts], shares)


def mix(tensors: Sequence[torch.Tensor], shares: Sequence[float]) -> torch.Tensor:
    """Return first + Σ share · (tensor − first) over the other tensors, in float32. Equal tensors stay bit-identical.

    Counters (integer tensors) are not averaged; the last one is returned. A tensor with the share 1 stays as it is.
    """
    if not tensors[-1].is_floating_point():
        return tensors[-1]
    if 1.0 in shares:
        return tensors[shares.index(1.0)].float()
    first = tensors[0].float()
    mixed = first.clone()
    for tensor, share in zip((tensor.float() for tensor in tensors[1:]), shares[1:], strict=True):
        # Equal tensors are common, since towers are often frozen. Adding zero is faster, with the same result for −0.
        mixed += 0.0 if torch.equal(tensor, first) else share * (tensor - first)
    return mixed


@contextmanager
def open_weights(folder: Path) -> Iterator[Weights]:
    """Context with the tensors of a model folder or mixture. Each is read, or averaged, on access.

    Raises:
        UserError: a file cannot be read, or a part of a mixture is missing.
    """
    with ExitStack() as stack:
        parts = mixture_parts(folder)
        for part in parts:
            if not (part.folder / WEIGHTS).is_file():
                raise UserError(
                    f"{folder / MIXTURE}: its part {part.folder} has no {WEIGHTS}; run the stage `average` again"
                )
        files = [part.folder / WEIGHTS for part in parts] or [folder / WEIGHTS]
        opened = [stack.enter_context(_open_file(path, folder)) for path in files]
        shares = [part.share for part in parts], [part.share_of_texts for part in parts]
        yield MixedWeights(opened, *shares) if parts else opened[0]


def write_mixture(folder: Path, parts: Sequence[MixturePart]) -> None:
    """Write the mixture of `parts` to `folder` (existing and empty), with the config files of the last part.

    Args:
        parts: their shares sum to 1, in both towers.

    Raises:
        CannotAverageError: the parts have tensors of different names or shapes.
    """
    shapes = _shapes(parts[-1].folder)
    if different := [part.folder for part in parts if _shapes(part.folder) != shapes]:
        raise CannotAverageError(
            f"models with different tensors cannot be averaged: {different[0]} and {parts[-1].folder}; average models "
            "of one architecture"
        )
    for file in sorted(parts[-1].folder.iterdir()):
        if file.is_file() and file.suffix not in WEIGHT_SUFFIXES:
            (folder / file.name).write_bytes(file.read_bytes())
    described = {
        "parts": [
            {
                "folder": os.path.relpath(part.folder.resolve(), folder.resolve()),
                "share": part.share,
                **({} if part.text_share is None else {"text_share": part.text_share}),
            }
            for part in parts
        ]
    }
    write_json(folder / MIXTURE, described)
    with open_weights(folder) as weights:
        content = save({name: weights.get_tensor(name) for name in weights.keys()})  # noqa: SIM118
    write_json(folder / MIXTURE, {**described, "weights_sha256": sha256(content).hexdigest()})


def have_same_tensor_names(folder: Path, other: Path) -> bool:
    """Whether both folders have weights with equal tensor names."""
    if not all((each / WEIGHTS).is_file() for each in (folder, other)):
        return False
    return _shapes(folder).keys() == _shapes(other).keys()


def _shapes(folder: Path) -> dict[str, list[int]]:
    """Return the shapes of the tensors of a model folder that is no mixture."""
    with _open_file(folder / WEIGHTS, folder) as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118


def _open_file(path: Path, folder: Path) -> Any:
    """Open a file of weights of the model `folder`; raises UserError if it cannot be read."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder}: the weights cannot be read ({error})") from error


def materialise_mixture(folder: Path, out_dir: Path) -> None:
    """Compute the mixture `folder` and write it as a model folder to `out_dir` (existing and empty).

    Raises:
        UserError: a part has changed since the mixture was written.
    """
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name != MIXTURE:
            (out_dir / file.name).write_bytes(file.read_bytes())
    with open_weights(folder) as weights:
        write_state({name: weights.get_tensor(name) for name in weights.keys()}, out_dir)  # noqa: SIM118
    if sha256_file(out_dir / WEIGHTS) != read_json(folder / MIXTURE)["weights_sha256"]:
        raise UserError(f"{folder}: a model that it averages has changed; run the stage `average` again")


@contextmanager
def materialised(folder: Path) -> Iterator[Path]:
    """Context with a model folder that has weights: a temporary one for a mixture, otherwise `folder`.

    Raises:
        UserError: a part of the mixture has changed or is missing.
    """
    if not mixture_parts(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        materialise_mixture(folder, Path(temporary))
        yield Path(temporary)


def write_state(state: Mapping[str, torch.Tensor], out_dir: Path) -> None:
    """Write a model's state to `out_dir` as safetensors."""
    tensors = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in state.items()}
    save_file(tensors, out_dir / WEIGHTS)
    (out_dir / WEIGHTS).chmod(0o644)


def distances(models: Mapping[str, Path], base_model: Path) -> dict[str, float]:
    """Relative distance of each model from the base model: ‖θ − θ₀‖ / ‖θ₀‖ over all tensors except counters.

    It is inf if it is not finite, or if names or shapes of tensors differ.
    """
    if not (base_model / WEIGHTS).is_file():
        return dict.fromkeys(models, math.inf)
    with open_weights(base_model) as base:
        squared_norms = {name: _squared_norm(base.get_tensor(name)) for name in base.keys()}  # noqa: SIM118
        return {name: _distance(folder, base, squared_norms) for name, folder in models.items()}


def _distance(folder: Path, base: Weights, squared_norms: Mapping[str, float]) -> float:
    if not mixture_parts(folder) and not (folder / WEIGHTS).is_file():
        return math.inf
    squared_difference = squared_norm = 0.0
    with open_weights(folder) as weights:
        if set(weights.keys()) != set(base.keys()):
            return math.inf
        for name in weights.keys():  # noqa: SIM118
            tensor, start = weights.get_tensor(name), base.get_tensor(name)
            if tensor.shape != start.shape:
                return math.inf
            if tensor.is_floating_point():
                squared_norm += squared_norms[name]
                if not torch.equal(tensor.float(), start.float()):
                    squared_difference += _squared_norm(tensor.float() - start.float())
    relative = math.sqrt(squared_difference / squared_norm) if 0 < squared_norm < math.inf else math.inf
    return relative if math.isfinite(relative) else math.inf


def _squared_norm(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.float(), dtype=torch.float64)) ** 2
