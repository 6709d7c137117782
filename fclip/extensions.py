"""Extensions: a package holds one kind of them, and each of its modules declares what it adds.

A new protocol, selection rule, base model, source or averaging method is one new file in its package. The registry
beside it (`registry.py`) defines the form of a declaration and collects all of them with `declared`.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol, TypeVar


class Declaration(Protocol):
    """What every declaration has: its name in params.yaml, a short label, and a sentence that describes it."""

    @property
    def kind(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def description(self) -> str: ...


D = TypeVar("D", bound=Declaration)


@cache
def _collect(package: str, form: type[Any]) -> MappingProxyType[str, Any]:
    found: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(import_module(package).__path__), key=lambda module: module.name):
        if module.name == "registry":
            continue
        for value in vars(import_module(f"{package}.{module.name}")).values():
            if isinstance(value, form):
                assert found.setdefault(value.kind, value) is value, f"{package}: {value.kind} is declared twice"
    return MappingProxyType(found)


def declared(package: str, form: type[D]) -> MappingProxyType[str, D]:
    """Every declaration of the type `form` in the modules of `package`, by its kind, in the order of the modules.

    The modules are imported at the first call. They import heavy libraries only inside functions.
    """
    return _collect(package, form)
