"""The kinds of source, and how each is described and read."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fclip.catalog.config import AnySource
from fclip.catalog.rows import RefusedRow, SourceRow
from fclip.catalog.sources import clothing, fmnist, hub, published, sample, table
from fclip.mirror.outside import Outside


@dataclass(frozen=True)
class Reader:
    """How one kind of source is read.

    `describe(source, outside)` says what the source is now, cheaply: digests and `num_rows`; it is what a pin holds.
    `read(source, outside, limit)` yields its rows lazily, in a fixed order. Both raise UserError for what is not
    there, and mirror what is remote as `outside` says.
    """

    describe: Callable[[Any, Outside], dict[str, object]]
    read: Callable[[Any, Outside, int | None], Iterator[SourceRow | RefusedRow]]


READERS = {
    "sample": Reader(sample.describe, sample.read),
    "table": Reader(table.describe, table.read),
    "hub": Reader(hub.describe, hub.read),
    "clothing": Reader(clothing.describe, clothing.read),
    "fmnist": Reader(fmnist.describe, fmnist.read),
    "published": Reader(published.describe, published.read),
}


def reader(source: AnySource) -> Reader:
    """The reader for this source's kind."""
    return READERS[source.kind]


def describe(source: AnySource, outside: Outside) -> dict[str, object]:
    """What a pin holds beside its dataset: what the source is now. Raises UserError when it is not there."""
    return reader(source).describe(source, outside)
