"""Consecutive rows of one product, merged into one record."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from fclip.catalog.reading.records import cell_text
from fclip.catalog.rows import Refusal

Record = dict[str, object]
Row = tuple[int, Record | Refusal]


def merge_rows(
    rows: Iterable[Row], *, product_id: str, image_columns: Sequence[str], separator: str | None
) -> Iterator[Row]:
    """Yield one record for each run of consecutive rows with the same product id.

    A cell of the record is the column's first non-empty cell. The cells of an image column become the list of all
    distinct images. A row that cannot be read is yielded as it is, after the product around it, which it does not end.
    A row without an id is a record of its own.

    Args:
        rows: numbered records, or the reasons why a row cannot be read.
        product_id: the column with the id. A product whose rows are not consecutive becomes several records.
        image_columns: the columns that name images.
        separator: as `image_cells` uses it.

    Yields:
        The number of the record's first row, and the record.
    """
    product: _Product | None = None
    refused: list[Row] = []
    for number, row in rows:
        if isinstance(row, Refusal):
            refused.append((number, row))
            continue
        own_id = cell_text(row.get(product_id))
        if product is None or own_id is None or own_id != product.own_id:
            if product is not None:
                yield product.first, product.record
            yield from refused
            refused = []
            product = _Product(number, own_id, row, image_columns, separator)
        else:
            product.add(row)
    if product is not None:
        yield product.first, product.record
    yield from refused


def image_cells(cell: object, separator: str | None) -> list[object]:
    """The parts of a cell that name one image each: the items of a list, or of a text split at the separator."""
    if isinstance(cell, list | tuple):
        return list(cell)
    return list(cell.split(separator)) if isinstance(cell, str) and separator else [cell]


class _Product:
    """The record of the rows of one product so far, and the number of the first of them."""

    def __init__(
        self,
        first: int,
        own_id: str | None,
        row: Mapping[str, object],
        image_columns: Sequence[str],
        separator: str | None,
    ) -> None:
        self.first, self.own_id = first, own_id
        self._cells: Record = {}
        self._images: dict[str, dict[str, None]] = {column: {} for column in image_columns}
        self._separator = separator
        self.add(row)

    @property
    def record(self) -> Record:
        """The merged record."""
        return {**self._cells, **{column: list(names) for column, names in self._images.items()}}

    def add(self, row: Mapping[str, object]) -> None:
        """Take another row of the product."""
        for column, cell in row.items():
            if column in self._images:
                names = map(cell_text, image_cells(cell, self._separator))
                self._images[column].update((name, None) for name in names if name)
            elif cell_text(self._cells.get(column)) is None:
                self._cells[column] = cell
