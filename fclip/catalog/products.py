"""The products of a catalog during the build, stored as columns: one Python object per product needs much memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fclip.catalog.repair import Repair, spelling_corrections
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
        table: columns `FIXED`; `images` are distinct numbers in the store, the primary one first; `split_key` is the
            input of the split's hash; `text_key` is the normalised text, null if there is none.
        attributes, texts: one column per name, null where a product has no value; attributes are dictionary-encoded.
    """

    table: pa.Table
    attributes: Mapping[str, pa.DictionaryArray]
    texts: Mapping[str, pa.StringArray]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def row(self, index: int) -> dict[str, object]:
        """Return one product in readable form, for quarantine."""
        fields = {name: self.table[name][index].as_py() for name in ("product_id", "parent_id")}
        cells = {name: column[index].as_py() for name, column in {**self.attributes, **self.texts}.items()}
        return {name: value for name, value in {**fields, **cells}.items() if value is not None}

    def codes(self, column: str) -> NDArray[np.int64]:
        """Return a code [n] per distinct value of a column of `table`; −1 for null."""
        encoded = self.table[column].combine_chunks().dictionary_encode()
        return pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def family_codes(self) -> NDArray[np.int64]:
        """Return a code [n] per family: the code of the parent, which variants share with their parent product."""
        table = self.table
        family = pc.coalesce(table["parent_id"], table["product_id"]).combine_chunks()
        codes: NDArray[np.int64] = family.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        return codes

    def image_lists(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return two aligned arrays: the index of a product, and the number of one of its images."""
        lists = self.table["images"].combine_chunks()
        products = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        return products, pc.list_flatten(lists).to_numpy(zero_copy_only=False)

    def with_unified_spellings(self) -> tuple["Products", list[Repair]]:
        """Return the products with one spelling per attribute value, and the repairs."""
        attributes, repairs = {}, []
        ids = self.table["product_id"]
        for name, column in self.attributes.items():
            values = column.dictionary.to_pylist()
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            counts = np.bincount(codes[codes >= 0], minlength=len(values))
            renamed = spelling_corrections(
                {value: int(count) for value, count in zip(values, counts, strict=True) if count}
            )
            if renamed:
                changed = np.array([value in renamed for value in values])
                for index in np.flatnonzero(np.append(changed, False)[codes]):
                    value = values[codes[index]]
                    repairs.append(Repair(ids[int(index)].as_py(), name, "spelling", value, renamed[value]))
                spelled = pa.array([renamed.get(value, value) for value in values], pa.string())
                column = pa.DictionaryArray.from_arrays(column.indices, spelled).cast(pa.string()).dictionary_encode()
            attributes[name] = column
        return Products(self.table, attributes, self.texts), repairs


class ProductColumns:
    """Collects accepted rows; `finish` returns the products."""

    def __init__(self) -> None:
        self._rows: list[tuple[SourceRow, list[int]]] = []
        self._parts: list[tuple[pa.Table, dict[str, pa.Array], dict[str, pa.Array]]] = []

    def add(self, row: SourceRow, images: Sequence[int]) -> None:
        """Add a row whose images have these numbers in the store."""
        self._rows.append((row, list(dict.fromkeys(images))))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def finish(self) -> Products:
        """Return the products of all added rows, in order."""
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
