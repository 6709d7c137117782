"""The registry of source kinds. Each module of this package declares one kind.

To add a kind, add one file here: its config, its functions, and a `SourceKind` that declares them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.extensions import collect_declarations
from fclip.mirror.source_access import SourceAccess


class SourceConfig(Protocol):
    """The config of a source, a frozen dataclass. Each kind has its own config class."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class SourceKind:
    """The declaration of one kind of source.

    Attributes:
        kind: the name in params.yaml: the value of the config's field `kind`.
        label: a short label for lists.
        description: one sentence for the documentation.
        config: the dataclass of the kind's options.
        describe: `describe(source, access)` returns the current facts of the source, cheaply: digests and `num_rows`.
            The pin stores them.
        read: `read(source, access, limit)` yields the rows lazily, in a fixed order, at most `limit`. `describe` and
            `read` mirror remote files through `access` and raise UserError for missing files.
        fixed_splits: the splits that the source gives; empty if fclip assigns the splits.
        path_fields: fields of the config that contain a local path, a remote address, or null.
        at_pin: `at_pin(source, pin)` fetches the files that the pin names and returns a source that can be read; None
            if every source of this kind can be read directly.
    """

    kind: str
    label: str
    description: str
    config: type[Any]
    describe: Callable[[Any, SourceAccess], dict[str, object]]
    read: Callable[[Any, SourceAccess, int | None], Iterator[SourceRow | RefusedRow]]
    fixed_splits: tuple[str, ...] = ()
    path_fields: tuple[str, ...] = ("path",)
    at_pin: Callable[[Any, Mapping[str, Any]], Any] | None = None


def source_kinds() -> Mapping[str, SourceKind]:
    """Return the kinds of source by name."""
    return collect_declarations("fclip.catalog.sources", SourceKind)


def kind_of(source: SourceConfig) -> SourceKind:
    """Return the kind of a source."""
    return source_kinds()[source.kind]


def describe(source: SourceConfig, access: SourceAccess) -> dict[str, object]:
    """Return the current facts of a source, for its pin. Raise UserError if the source does not exist."""
    return kind_of(source).describe(source, access)


def read(source: SourceConfig, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """Yield the rows of a source, at most `limit`. Raise UserError if it does not exist or cannot be read."""
    return kind_of(source).read(source, access, limit)


def at_pin(source: SourceConfig, pin: Mapping[str, Any]) -> SourceConfig:
    """Fetch the pinned files and return a source that can be read. Raise UserError if they cannot be fetched."""
    fetch = kind_of(source).at_pin
    resolved: SourceConfig = source if fetch is None else fetch(source, pin)
    return resolved
