"""The reader of safetensors files, compared with the library safetensors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load, save

from fclip.errors import UserError
from fclip.runtime.safetensors import read_entries, read_tensors

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]
SHAPES = st.lists(st.integers(0, 4), max_size=3)


@given(st.dictionaries(st.text(max_size=8), st.tuples(st.sampled_from(DTYPES), SHAPES), max_size=4), st.integers(0, 99))
def test_tensors_equal_those_of_the_library(described: dict, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    described.pop("__metadata__", None)
    state = {
        name: (torch.randn(shape, generator=generator) * 9).to(dtype) for name, (dtype, shape) in described.items()
    }
    content = save(state, metadata={"note": "x"})
    found = read_tensors(content)
    expected = load(content)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        array = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.integers(0, 200), st.binary(max_size=4))
def test_a_truncated_or_changed_file_is_a_user_error_or_reads(position: int, replaced: bytes) -> None:
    content = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)})
    for damaged in (content[:position], content[:position] + replaced + content[position + len(replaced) :]):
        try:
            read_tensors(damaged)
        except UserError as error:
            assert "not a complete safetensors file" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}},
        {"a": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 8]}},
        {"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]}},
        {"a": []},
        [],
    ],
)
def test_a_wrong_header_is_refused(header: object, tmp_path: Path) -> None:
    encoded = json.dumps(header).encode()
    path = tmp_path / "wrong.safetensors"
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + bytes(8))
    with pytest.raises(UserError, match="not a complete safetensors file"):
        read_tensors(path)


def test_entries_are_where_the_values_are(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": torch.arange(3.0), "b": torch.arange(4.0)}))
    entry = read_entries(path)["b"]
    values = np.frombuffer(path.read_bytes()[entry.offset : entry.offset + entry.num_bytes], "<f4")
    np.testing.assert_array_equal(values, np.arange(4, dtype=np.float32))
