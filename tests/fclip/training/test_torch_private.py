"""Private torch functions are used in one module only, and their wrappers work."""

import ast

import pytest
import torch
from torch.utils.data import DataLoader

from fclip.training.torch_private import lerp_, stop_workers
from tests.conftest import REPOSITORY

SOURCES = sorted((REPOSITORY / "fclip").rglob("*.py"))


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_torch_names(source: str) -> set[str]:
    """Return the private names of torch in a module: imported names, and attributes of imported names.

    In a module that imports torch, private attributes of other objects are included unless the module defines them.
    """
    tree = ast.parse(source)
    found: set[str] = set()
    roots: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    roots.add((alias.asname or "torch").split(".")[0])
                    found |= {alias.name} if any(map(is_private, alias.name.split("."))) else set()
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "torch":
            for alias in node.names:
                roots.add(alias.asname or alias.name)
                name = f"{node.module}.{alias.name}"
                found |= {name} if any(map(is_private, name.split("."))) else set()
    if not roots:
        return found
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            defined.add(node.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr not in defined:
            found.add(ast.unparse(node))
    return found


def test_only_one_module_uses_private_torch_names() -> None:
    using = {path.relative_to(REPOSITORY).as_posix() for path in SOURCES if private_torch_names(path.read_text())}
    assert using == {"fclip/training/torch_private.py"}


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch._foreach_lerp_([], [], 1)",
        "import torch\nif torch.cpu._is_amx_tile_supported(): pass",
        "from torch import nn\nisinstance(m, nn.modules.batchnorm._BatchNorm)",
        "from torch._utils import _flatten_dense_tensors",
        "from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter as Iterator",
        "import torch._utils",
        "from torch.utils.data import DataLoader\nloader._iterator._shutdown_workers()",
    ],
)
def test_private_torch_names_detects_private_names(source: str) -> None:
    assert private_torch_names(source)
    assert not private_torch_names("import torch\nclass A:\n    def f(self):\n        self._x = torch.zeros(1)\n")


def test_lerp_interpolates_each_tensor() -> None:
    generator = torch.Generator().manual_seed(0)
    tensors, ends = ([torch.randn(size, 3, generator=generator) for size in (2, 5)] for _ in range(2))
    expected = [tensor.lerp(end, 0.3) for tensor, end in zip(tensors, ends, strict=True)]
    lerp_(tensors, ends, 0.3)
    assert all(torch.equal(tensor, one) for tensor, one in zip(tensors, expected, strict=True))


def test_stop_workers_accepts_a_loader_that_was_not_started() -> None:
    loader: DataLoader[int] = DataLoader([1, 2], num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    stop_workers(loader)
