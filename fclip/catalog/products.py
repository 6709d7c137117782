"""The products of a catalog while it is built, as columns: a Python object a product would fill the memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fclip.catalog.repair import Repair, one_spelling
from fclip.catalog.rows import SourceRow
from fclip.catalog.splits import normalised_title, split_key

ROWS_AT_ONCE = 4096
FIXED = {
    "source_row": pa.int64(),
    "product_id": pa.string(),
    "parent_id": pa.string(),
    "fixed_split": pa.dictionary(pa.int32(), pa.string()),
    "split_key": pa.string(),
    "text_key": pa.string(),
    "images": pa.list_(pa.int64()),
}


@dataclass(frozen=True)
class Products:
    """n products, in the order of the source.

    Attributes:
        table: columns `FIXED`; `images` are numbers in the store, the primary first, each once; `split_key` is what
            the split is a hash of; `text_key` is the normalised text, null where there is none.
        attributes, texts: a column a name, null where a product has none; attributes are dictionary-encoded.
    """

    table: pa.Table
    attributes: Mapping[str, pa.DictionaryArray]
    texts: Mapping[str, pa.StringArray]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def row(self, place: int) -> dict[str, object]:
        """One product as a person may look at it."""
        fields = {name: self.table[name][place].as_py() for name in ("product_id", "parent_id")}
        cells = {name: column[place].as_py() for name, column in {**self.attributes, **self.texts}.items()}
        return {name: value for name, value in {**fields, **cells}.items() if value is not None}

    def codes(self, column: str) -> NDArray[np.int64]:
        """A code for each distinct value of a column of `table`; −1 for null."""
        encoded = self.table[column].combine_chunks().dictionary_encode()
        return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def family_codes(self) -> NDArray[np.int64]:
        """A code for each parent, which variants share with the product that is their parent, if it is there."""
        table = self.table
        family = pc.coalesce(table["parent_id"], table["product_id"]).combine_chunks()
        codes: NDArray[np.int64] = family.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return codes

    def image_lists(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Aligned: the place of a product, and the number of one of its images."""
        lists = self.table["images"].combine_chunks()
        products = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        return products, pc.list_flatten(lists).to_numpy(zero_copy_only=False)

    def respelled(self) -> tuple["Products", list[Repair]]:
        """Every value of an attribute in one spelling, and what was changed for that."""
        attributes, repairs = {}, []
        ids = self.table["product_id"]
        for name, column in self.attributes.items():
            values = column.dictionary.to_pylist()
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            counts = np.bincount(codes[codes >= 0], minlength=len(values))
            renamed = one_spelling({value: int(count) for value, count in zip(values, counts, strict=True) if count})
            if renamed:
                changed = np.array([value in renamed for value in values])
                for place in np.flatnonzero(np.append(changed, False)[codes]):
                    value = values[codes[place]]
                    repairs.append(Repair(ids[int(place)].as_py(), name, "spelling", value, renamed[value]))
                spelled = pa.array([renamed.get(value, value) for value in values], pa.string())
                column = pa.DictionaryArray.from_arrays(column.indices, spelled).cast(pa.string()).dictionary_encode()
            attributes[name] = column
        return Products(self.table, attributes, self.texts), repairs


class ProductColumns:
    """Take accepted rows one by one; `finish` gives the products."""

    def __init__(self) -> None:
        self._rows: list[tuple[SourceRow, list[int]]] = []
        self._parts: list[tuple[pa.Table, dict[str, pa.Array], dict[str, pa.Array]]] = []

    def add(self, row: SourceRow, images: Sequence[int]) -> None:
        """Take a row whose images have these numbers in the store."""
        self._rows.append((row, list(dict.fromkeys(images))))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def finish(self) -> Products:
        """All rows taken, in order."""
        self._flush()
        sizes = [part[0].num_rows for part in self._parts]

        def joined(which: int, kind: pa.DataType) -> dict[str, pa.Array]:
            names = dict.fromkeys(name for part in self._parts for name in part[which])
            columns = {}
            for name in names:
                chunks = [
                    part[which].get(name, pa.nulls(size, kind)) for part, size in zip(self._parts, sizes, strict=True)
                ]
                chunked = pa.chunked_array(chunks, kind)
                if pa.types.is_dictionary(kind):
                    chunked = chunked.unify_dictionaries()
                columns[name] = chunked.combine_chunks()
            return columns

        table = pa.concat_tables([part[0] for part in self._parts] or [pa.schema(FIXED).empty_table()])
        return Products(table.unify_dictionaries(), joined(1, FIXED["fixed_split"]), joined(2, pa.string()))

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = [row for row, _ in self._rows]
        titles = [normalised_title(row.texts) for row in rows]
        values = {
            "source_row": [row.source_row for row in rows],
            "product_id": [row.product_id for row in rows],
            "parent_id": [row.parent_id for row in rows],
            "fixed_split": [row.split for row in rows],
            "split_key": [
                split_key(product_id=row.product_id or "", parent_id=row.parent_id, title=title)
                for row, title in zip(rows, titles, strict=True)
            ],
            "text_key": [title or None for title in titles],
            "images": [images for _, images in self._rows],
        }
        table = pa.table({name: pa.array(values[name], kind) for name, kind in FIXED.items()})
        attributes = _columns([row.attributes for row in rows])
        texts = _columns([row.texts for row in rows])
        self._parts.append((table, {name: column.dictionary_encode() for name, column in attributes.items()}, texts))
        self._rows = []


def _columns(cells: Sequence[Mapping[str, str]]) -> dict[str, pa.Array]:
    names = dict.fromkeys(name for row in cells for name in row)
    return {name: pa.array([row.get(name) for row in cells], pa.string()) for name in names}
