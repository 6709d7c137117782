"""Build one index in a process of its own.

python -m benchmarks.search.builds TOOL FOLDER                    LanceDB or FAISS: index the inputs in FOLDER
python -m benchmarks.search.builds kagl FOLDER QUERIES WORKSPACE  ours: publish kagl, and write the inputs to FOLDER
python -m benchmarks.search.builds random FOLDER QUERIES IMAGES   ours: draw and index vectors, and write the inputs

The build writes FOLDER/built-TOOL.json: the seconds and bytes of exact and of approximate search. An approximate index
of ours and of LanceDB searches exactly too, so its figures are those of both.
"""

import math
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.search.inputs import ROWS, TUNING, Inputs, K, read_inputs, write_random
from benchmarks.search.tools import APPROXIMATE, EXACT
from fclip.files import atomic_dir, write_json
from fclip.search.manifest import read_manifest

TABLE = "images"
MIN_RECALL = 0.95
PROBES = (1, 2, 5, 10, 20, 40, 80, 160, 320)  # of FAISS, tried in this order until the recall is sufficient
ROWS_AT_ONCE = 20_000
Seconds = dict[str, float]


def build_lancedb(inputs: Inputs, folder: Path) -> Seconds:
    """Write a table with the vectors, a bitmap index of each attribute, and an index of the vectors with √n cells."""
    import lancedb
    from lancedb.index import Bitmap, IvfFlat

    from fclip.search.lance import BUILD_TIMEOUT

    began = time.perf_counter()
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
    exact = time.perf_counter() - began
    config = IvfFlat(distance_type="cosine", num_partitions=math.isqrt(len(vectors)))
    table.create_index("vector", config=config, wait_timeout=BUILD_TIMEOUT)
    return {EXACT: exact, APPROXIMATE: time.perf_counter() - began}


def build_faiss(inputs: Inputs, folder: Path) -> Seconds:
    """Write both indexes, the approximate one with √n cells, and the number of probes that it needs."""
    faiss: Any = import_module("faiss")  # its types are incomplete
    seconds = {}
    began = time.perf_counter()
    vectors = np.load(inputs.vectors)
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    faiss.write_index(exact, str(folder / f"{EXACT}.index"))
    seconds[EXACT] = time.perf_counter() - began
    began = time.perf_counter()
    vectors = np.load(inputs.vectors)
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    cells = faiss.IndexIVFFlat(quantizer, vectors.shape[1], math.isqrt(len(vectors)), faiss.METRIC_INNER_PRODUCT)
    cells.train(vectors)
    cells.add(vectors)
    faiss.write_index(cells, str(folder / f"{APPROXIMATE}.index"))
    seconds[APPROXIMATE] = time.perf_counter() - began
    tuning = inputs.load(TUNING)
    expected, num_probes = exact.search(tuning, K)[1].tolist(), 0
    for num_probes in PROBES:
        found = cells.search(tuning, K, params=faiss.SearchParametersIVF(nprobe=num_probes))[1].tolist()
        if np.mean([len(set(one) & set(other)) / K for one, other in zip(found, expected, strict=True)]) >= MIN_RECALL:
            break
    write_json(folder / "probes.json", num_probes)
    return seconds


BUILDS: dict[str, Callable[[Inputs, Path], Seconds]] = {"LanceDB": build_lancedb, "FAISS": build_faiss}


def peer_folder(inputs: Inputs, tool: str) -> Path:
    """Return where the index of a peer is."""
    return inputs.folder / tool.casefold()


def build_peer(tool: str, inputs: Inputs) -> None:
    """Index the inputs with LanceDB or FAISS, in the folder of the inputs."""
    target = peer_folder(inputs, tool)
    with atomic_dir(target) as temporary:
        seconds = BUILDS[tool](inputs, temporary)
    sizes = {mode: target / f"{mode}.index" if tool == "FAISS" else target for mode in seconds}
    _record(inputs, tool, {mode: {"seconds": seconds[mode], "bytes": _size(sizes[mode])} for mode in seconds})


def build_ours(name: str, folder: Path, num_queries: int, given: str) -> Inputs:
    """Index kagl in the workspace `given`, or `given` random vectors, and write the inputs to `folder`."""
    if name == "random":
        inputs = write_random(folder, int(given), num_queries=num_queries)
    else:
        from benchmarks.search.kagl import publish_kagl
        from tasks.workspace.paths import Workspace

        inputs = publish_kagl(Workspace(Path(given)), folder, num_queries)
    built = {"seconds": read_manifest(inputs.index).build_seconds, "bytes": _size(inputs.index)}
    _record(inputs, "fclip", {APPROXIMATE: built})
    return inputs


def record_file(folder: Path, tool: str) -> Path:
    """Return the file that a finished build writes."""
    return folder / f"built-{tool}.json"


def _record(inputs: Inputs, tool: str, values: dict[str, dict[str, float]]) -> None:
    write_json(record_file(inputs.folder, tool), values)


def _size(path: Path) -> int:
    return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())


def main() -> None:
    name, folder, *others = sys.argv[1:]
    if name in BUILDS:
        build_peer(name, read_inputs(Path(folder)))
    else:
        num_queries, given = others
        build_ours(name, Path(folder), int(num_queries), given)


if __name__ == "__main__":
    main()
