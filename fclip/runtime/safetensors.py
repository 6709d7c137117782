"""Tensors of a safetensors file as numpy arrays: an 8-byte length, a JSON header, and the values."""

import json
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fclip.errors import UserError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1", "BOOL": "|b1"}
BFLOAT16 = "BF16"


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a file: its type (as in the header), shape, and the offset and size of its values in bytes."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    num_bytes: int


def read_tensors(source: Path | bytes) -> dict[str, NDArray[Any]]:
    """Return the tensors by name. Those of a file are mapped into memory; bfloat16 is converted to float32.

    Raises:
        UserError: the file cannot be read, or is not a complete safetensors file.
    """
    title = str(source) if isinstance(source, Path) else "the weights"
    content = _map(source) if isinstance(source, Path) else memoryview(source)
    return {name: _array(content, entry) for name, entry in _entries(content, title).items()}


def read_entries(path: Path) -> dict[str, TensorEntry]:
    """Return where the tensors are in a file.

    Raises:
        UserError: as for `read_tensors`.
    """
    return _entries(_map(path), str(path))


def read_metadata(path: Path) -> Mapping[str, str]:
    """Return the metadata of a file.

    Raises:
        UserError: as for `read_tensors`.
    """
    header, _ = _header(_map(path), str(path))
    return dict(header.get("__metadata__") or {})


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise UserError(f"{path}: the weights cannot be read ({error})") from error


def _header(content: memoryview, title: str) -> tuple[dict[str, Any], int]:
    """Return the header and the offset of the values."""
    length = int.from_bytes(content[:8], "little")
    try:
        if len(content) < 8 + length:
            raise ValueError("the file is cut short")
        header = json.loads(bytes(content[8 : 8 + length]))
        if not isinstance(header, dict):
            raise ValueError("the header is not a JSON object")
        return header, 8 + length
    except ValueError as error:
        raise UserError(
            f"{title}: not a complete safetensors file ({error}); fetch or export the model again"
        ) from error


def _entries(content: memoryview, title: str) -> dict[str, TensorEntry]:
    header, start = _header(content, title)
    entries = {}
    for name, values in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = values["data_offsets"]
            entry = TensorEntry(str(values["dtype"]), tuple(values["shape"]), start + begin, end - begin)
            known = entry.dtype == BFLOAT16 or entry.dtype in DTYPES
            if not known or not 0 <= begin <= end <= len(content) - start:
                raise ValueError(f"the tensor {name} is of an unknown type or outside the file")
            item = 2 if entry.dtype == BFLOAT16 else np.dtype(DTYPES[entry.dtype]).itemsize
            if item * int(np.prod(entry.shape, dtype=np.int64)) != entry.num_bytes:
                raise ValueError(f"the tensor {name} has a size that does not match its shape")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{title}: not a complete safetensors file ({error}); fetch or export the model again"
            ) from error
        entries[name] = entry
    return entries


def _array(content: memoryview, entry: TensorEntry) -> NDArray[Any]:
    values = content[entry.offset : entry.offset + entry.num_bytes]
    if entry.dtype == BFLOAT16:
        upper_half = np.frombuffer(values, "<u2").astype(np.uint32) << 16
        return upper_half.view(np.float32).reshape(entry.shape)
    return np.frombuffer(values, DTYPES[entry.dtype]).reshape(entry.shape)
