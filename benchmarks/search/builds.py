"""Build one index in a process of its own.

python -m benchmarks.search.builds TOOL FOLDER                    LanceDB or FAISS: index the inputs in FOLDER
python -m benchmarks.search.builds kagl FOLDER QUERIES WORKSPACE  ours: publish kagl, and write the inputs to FOLDER
python -m benchmarks.search.builds random FOLDER QUERIES IMAGES   ours: draw and index vectors, and write the inputs

The build writes FOLDER/built-TOOL.json: seconds, bytes and threads for exact and for approximate search. An approximate
index of ours and of LanceDB searches exactly too.
"""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.search.inputs import (
    ATTRIBUTE,
    ROWS,
    SHARES,
    TUNING,
    Inputs,
    K,
    draw_products,
    index_drawn,
    read_inputs,
    write_inputs,
)
from benchmarks.search.tools import APPROXIMATE, EXACT, OURS
from fclip.files import atomic_dir, write_json

TABLE = "images"
MIN_RECALL = 0.95
PROBES = (1, 2, 5, 10, 20, 40, 80, 160, 320)  # of FAISS, tried in this order until the recall is sufficient
ROWS_AT_ONCE = 20_000
Seconds = tuple[float, float]
"""Seconds that passed, and those of the processor, which other programs change less."""


class Watch:
    """Measures from its creation on."""

    def __init__(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def seconds(self) -> Seconds:
        """Return the seconds since."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


def build_lancedb(inputs: Inputs, folder: Path) -> dict[str, Seconds]:
    """Write a table with the vectors, a bitmap index of each attribute, and an index of the vectors with √n cells."""
    import lancedb
    from lancedb.index import Bitmap, IvfFlat

    from fclip.search.lance import BUILD_TIMEOUT

    watch = Watch()
    vectors, rows = np.load(inputs.vectors, mmap_mode="r"), pq.read_table(inputs.folder / ROWS).combine_chunks()
    schema = rows.schema.append(pa.field("vector", pa.list_(pa.float32(), vectors.shape[1])))

    def batches() -> Iterable[pa.RecordBatch]:
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            (batch,) = rows.slice(start, ROWS_AT_ONCE).to_batches()
            flat = pa.array(np.ascontiguousarray(vectors[start : start + ROWS_AT_ONCE]).ravel())
            column = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)

    table = lancedb.connect(str(folder)).create_table(TABLE, batches(), schema=schema)
    for attribute in sorted({attribute for attribute, _ in inputs.filters.values()}):
        table.create_index(attribute, config=Bitmap(), wait_timeout=BUILD_TIMEOUT)
    exact = watch.seconds()
    config = IvfFlat(distance_type="cosine", num_partitions=math.isqrt(len(vectors)))
    table.create_index("vector", config=config, wait_timeout=BUILD_TIMEOUT)
    return {EXACT: exact, APPROXIMATE: watch.seconds()}


def build_faiss(inputs: Inputs, folder: Path) -> dict[str, Seconds]:
    """Write both indexes, the approximate one with √n cells, and the number of probes that it needs."""
    faiss: Any = import_module("faiss")  # its types are incomplete
    seconds = {}
    watch = Watch()
    vectors = np.load(inputs.vectors)
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    faiss.write_index(exact, str(folder / f"{EXACT}.index"))
    seconds[EXACT] = watch.seconds()
    watch = Watch()
    vectors = np.load(inputs.vectors)
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    cells = faiss.IndexIVFFlat(quantizer, vectors.shape[1], math.isqrt(len(vectors)), faiss.METRIC_INNER_PRODUCT)
    cells.train(vectors)
    cells.add(vectors)
    faiss.write_index(cells, str(folder / f"{APPROXIMATE}.index"))
    seconds[APPROXIMATE] = watch.seconds()
    tuning = inputs.load(TUNING)
    expected, num_probes = exact.search(tuning, K)[1].tolist(), 0
    for num_probes in PROBES:
        found = cells.search(tuning, K, params=faiss.SearchParametersIVF(nprobe=num_probes))[1].tolist()
        if np.mean([len(set(one) & set(other)) / K for one, other in zip(found, expected, strict=True)]) >= MIN_RECALL:
            break
    write_json(folder / "probes.json", num_probes)
    return seconds


BUILDS: dict[str, Callable[[Inputs, Path], dict[str, Seconds]]] = {"LanceDB": build_lancedb, "FAISS": build_faiss}


def build_peer(tool: str, inputs: Inputs) -> None:
    """Index the inputs with LanceDB or FAISS, in the folder of the inputs."""
    target = inputs.folder / tool.casefold()
    with atomic_dir(target) as temporary:
        seconds = BUILDS[tool](inputs, temporary)
    files = {mode: target / f"{mode}.index" if tool == "FAISS" else target for mode in seconds}
    _record(inputs, tool, {mode: _figures(each, files[mode]) for mode, each in seconds.items()})


def build_ours(name: str, folder: Path, num_queries: int, given: str) -> Inputs:
    """Index kagl in the workspace `given`, or `given` drawn vectors, and write the inputs to `folder`."""
    if name == "kagl":
        from benchmarks.search.kagl import publish_kagl, write_kagl
        from tasks.workspace.paths import Workspace

        workspace, watch = Workspace(Path(given)), Watch()
        index = publish_kagl(workspace)
        seconds = watch.seconds()
        inputs = write_kagl(folder, workspace, index, num_queries)
    else:
        embeddings, queries = draw_products(int(given), num_queries=num_queries)
        watch = Watch()
        index_drawn(folder / "index", embeddings)
        seconds = watch.seconds()
        filters = {share: (ATTRIBUTE, share) for share in SHARES}
        inputs = write_inputs(folder, folder / "index", filters, queries, embeddings.text_vectors)
    _record(inputs, OURS, {APPROXIMATE: _figures(seconds, inputs.index)})
    return inputs


def record_file(folder: Path, tool: str) -> Path:
    """Return the file that a finished build writes."""
    return folder / f"built-{tool}.json"


def _record(inputs: Inputs, tool: str, values: dict[str, dict[str, float]]) -> None:
    write_json(record_file(inputs.folder, tool), values)


def _figures(seconds: Seconds, path: Path) -> dict[str, float]:
    size = sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
    return {"seconds": seconds[0], "cpu_seconds": seconds[1], "bytes": size, "threads": len(os.sched_getaffinity(0))}


def main() -> None:
    name, folder, *others = sys.argv[1:]
    if name in BUILDS:
        build_peer(name, read_inputs(Path(folder)))
    else:
        num_queries, given = others
        build_ours(name, Path(folder), int(num_queries), given)


if __name__ == "__main__":
    main()
