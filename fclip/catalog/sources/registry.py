"""The kinds of source: what each module of this package declares, and how a source is described and read by its kind.

A new kind is one new file here: its config, its functions, and a `SourceKind` that declares them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.extensions import declared
from fclip.mirror.source_access import SourceAccess


class SourceConfig(Protocol):
    """The config of a source, a frozen dataclass; each kind is declared in its own file of `fclip.catalog.sources`."""

    @property
    def kind(self) -> str: ...


@dataclass(frozen=True)
class SourceKind:
    """The declaration of one kind of source.

    Attributes:
        kind: its name in params.yaml, which is the value of the config's field `kind`.
        label: a few words for lists.
        description: a sentence for documentation.
        config: the dataclass of its options.
        describe: `describe(source, outside)` says what the source is now, cheaply: digests and `num_rows`. It is what
            a pin holds.
        read: `read(source, outside, limit)` yields its rows lazily, in a fixed order; `limit` of them at most.
            `describe` and `read` raise UserError for what is not there, and mirror what is remote as `outside` says.
        fixed_splits: the splits that the source comes with; empty where its products are to be split.
        path_fields: fields of the config that hold a local path, a remote address, or null.
        at_pin: `at_pin(source, pin)` gives the source as it can be read, with what the pin names fetched; None where a
            source can be read as it is.
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
    """Every kind of source by its name."""
    return declared("fclip.catalog.sources", SourceKind)


def kind_of(source: SourceConfig) -> SourceKind:
    """The kind of this source."""
    return source_kinds()[source.kind]


def describe(source: SourceConfig, outside: SourceAccess) -> dict[str, object]:
    """What a pin holds beside its dataset: what the source is now. Raises UserError when it is not there."""
    return kind_of(source).describe(source, outside)


def read(source: SourceConfig, outside: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    """The rows of the source, `limit` of them at most. Raises UserError when it is not there, or cannot be read."""
    return kind_of(source).read(source, outside, limit)


def at_pin(source: SourceConfig, pin: Mapping[str, Any]) -> SourceConfig:
    """The source as it can be read, with what the pin names fetched; raises UserError when it cannot be fetched."""
    fetch = kind_of(source).at_pin
    found: SourceConfig = source if fetch is None else fetch(source, pin)
    return found
