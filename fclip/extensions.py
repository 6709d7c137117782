"""Extensions: each kind of extension has a package, and each module of the package declares an extension.

A new protocol, selection rule, base model, source or averaging method is one new file in its package. The module
`registry` of the package defines the class of the declarations and collects them with `collect_declarations`.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, Protocol, TypeVar


class Declaration(Protocol):
    """Interface of a declaration: its name in params.yaml, a short label and a descriptive sentence."""

    @property
    def kind(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def description(self) -> str: ...


D = TypeVar("D", bound=Declaration)


@cache
def _collect(package: str, form: type[Any]) -> MappingProxyType[str, Any]:
    declarations: dict[str, Any] = {}
    for module in sorted(pkgutil.iter_modules(import_module(package).__path__), key=lambda module: module.name):
        if module.name == "registry":
            continue
        for value in vars(import_module(f"{package}.{module.name}")).values():
            if isinstance(value, form):
                assert declarations.setdefault(value.kind, value) is value, f"{package}: {value.kind} is declared twice"
    return MappingProxyType(declarations)


def collect_declarations(package: str, form: type[D]) -> MappingProxyType[str, D]:
    """Return every declaration of type `form` in the modules of `package` by kind, in the order of module names.

    The first call imports the modules, which must import heavy libraries only inside functions.
    """
    return _collect(package, form)
