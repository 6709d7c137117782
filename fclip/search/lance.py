"""The table of an index in LanceDB: readable by other programs, and searched approximately if the catalog is large.

Tables are written once. LanceDB has had silent failures of updates in place (lancedb#3177), of filters in hybrid search
(#3095) and of indexed filters with a limit (#3436); so nothing is updated, no attribute is indexed, filters and words
are searched elsewhere, and every table is compared with exact search before it is published.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.search.catalog import Product, filterable
from fclip.search.manifest import REMEDY
from fclip.search.ranking import FloatArray, Ints

TABLE = "catalog"
VECTOR, IMAGE, PRODUCT = "vector", "image", "product"
FIXED = (IMAGE, PRODUCT, "product_id", "image_sha256", "title", VECTOR)
ROWS_AT_ONCE = 20_000
BUILD_TIMEOUT = timedelta(hours=6)


def lancedb_version() -> str:
    """Return the version of the installed LanceDB; "" if it is not installed."""
    return version("lancedb") if find_spec("lancedb") else ""


def column_names(attributes: Iterable[str]) -> dict[str, str]:
    """Return a column for each attribute: its own name, or `attribute_3` if that cannot be a column."""
    used = {name.casefold() for name in FIXED}
    columns = {}
    for number, name in enumerate(sorted(attributes)):
        is_plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) and name.casefold() not in used
        columns[name] = name if is_plain else f"attribute_{number}"
        used.add(columns[name].casefold())
    return columns


def write_table(
    folder: Path,
    vectors: FloatArray,
    product_of_image: NDArray[np.int32],
    products: Sequence[Product],
    image_sha256: Sequence[str],
    columns: Mapping[str, str],
) -> "LanceTable":
    """Write the table `catalog` with one row for each image to the new database `folder`, in order of the vectors."""
    import lancedb

    schema = pa.schema(
        [
            pa.field(IMAGE, pa.int64()),
            pa.field(PRODUCT, pa.int64()),
            *(pa.field(name, pa.string()) for name in ("product_id", "image_sha256", "title")),
            *(pa.field(column, pa.string()) for column in columns.values()),
            pa.field(VECTOR, pa.list_(pa.float32(), vectors.shape[1])),
        ]
    )

    def batches() -> Iterable[pa.RecordBatch]:
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            rows = slice(start, min(start + ROWS_AT_ONCE, len(vectors)))
            numbers = product_of_image[rows].tolist()
            listed = [products[number] for number in numbers]
            cells = [filterable(product) for product in listed]
            flat = pa.array(np.ascontiguousarray(vectors[rows], np.float32).ravel())
            arrays = [
                pa.array(range(rows.start, rows.stop), pa.int64()),
                pa.array(numbers, pa.int64()),
                pa.array([product.product_id for product in listed], pa.string()),
                pa.array(image_sha256[rows], pa.string()),
                pa.array([product.title for product in listed], pa.string()),
                *(pa.array([cell.get(name) for cell in cells], pa.string()) for name in columns),
                pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)

    lancedb.connect(str(folder)).create_table(TABLE, batches(), schema=schema)
    return LanceTable(folder)


class LanceTable:
    """A table that `write_table` wrote.

    Raises:
        UserError: LanceDB is not installed, or the table cannot be read; raised by any method.
    """

    def __init__(self, folder: Path) -> None:
        if not lancedb_version():
            raise UserError(f"{folder} needs the package lancedb; run `pip install '.[search]'` in the folder of fclip")
        import lancedb

        self._folder = folder
        try:
            self._table: Any = lancedb.connect(str(folder)).open_table(TABLE)
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(f"{folder} has no table of LanceDB ({_reason(error)}); {REMEDY}") from error

    def create_index(self) -> None:
        """Divide the vectors into cells, so that a search reads only the nearest cells. The vectors stay exact."""
        from lancedb.index import IvfFlat

        num_cells = math.isqrt(self._table.count_rows())
        config = IvfFlat(distance_type="cosine", num_partitions=num_cells)
        self._table.create_index(VECTOR, config=config, wait_timeout=BUILD_TIMEOUT)

    def nearest_images(self, query: FloatArray, k: int, *, num_probes: int | None) -> Ints:
        """Return the images nearest to a query, float32 [d]: int64 [at most k].

        Args:
            num_probes: number of cells that are searched; None searches exactly.
        """
        search = self._table.search(query, vector_column_name=VECTOR).distance_type("cosine").limit(k)
        search = search.bypass_vector_index() if num_probes is None else search.nprobes(num_probes)
        try:
            found = search.select([IMAGE, "_distance"]).to_arrow()
        except (ValueError, RuntimeError, OSError) as error:
            raise UserError(f"{self._folder} cannot be searched ({_reason(error)}); {REMEDY}") from error
        images: Ints = found[IMAGE].to_numpy()
        return images


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
