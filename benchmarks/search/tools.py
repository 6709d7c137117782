"""One tool in a process of its own, which searches an index of the inputs in FOLDER with vectors at hand.

python -m benchmarks.search.tools search TOOL MODE FOLDER    answer one JSON object per line on standard input
python -m benchmarks.search.tools memory TOOL MODE FOLDER    open, answer 100 queries, and print the memory in MiB

This module imports nothing heavy, so that the memory of a tool is that of what it needs.
"""

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from benchmarks.search.inputs import Inputs

K = 10
MEMORY_QUERIES = 100
WARM_UP = 1
EXACT, APPROXIMATE = "exact", "approximate"
OURS = "fclip"


class Tool(Protocol):
    """An open index. Both methods are timed."""

    def filter(self, share: str | None) -> Any:
        """Return what `search` needs to search only what a filter leaves; None searches all."""

    def search(self, query: Any, filtered: Any) -> Any:
        """Return the images of the 10 nearest to a query, float32 [d]: integers, negative for none."""


class Ours:
    """`Searcher`, with the filter as `Index.find` evaluates it."""

    def __init__(self, inputs: "Inputs", mode: str) -> None:
        from fclip.search.manifest import read_manifest
        from fclip.search.searcher import Searcher

        self.filters, self.manifest = inputs.filters, read_manifest(inputs.index)
        self.searcher = Searcher(inputs.index, self.manifest, exact=mode == EXACT)

    def filter(self, share: str | None) -> Any:
        if share is None:
            return None
        catalog = self.searcher.catalog
        return catalog.matching(catalog.resolve(dict([self.filters[share]])), self.manifest.num_products)

    def search(self, query: Any, filtered: Any) -> Any:
        return self.searcher.nearest(query, K, filtered, is_filtered=filtered is not None).images


class LanceDB:
    """A table with a bitmap index of each attribute. Approximate search has the number of probes of our index."""

    def __init__(self, inputs: "Inputs", mode: str) -> None:
        import lancedb

        from benchmarks.search.builds import TABLE
        from fclip.search.manifest import read_manifest

        self.filters = inputs.filters
        self.table: Any = lancedb.connect(str(inputs.folder / "lancedb")).open_table(TABLE)
        approximation = read_manifest(inputs.index).approximation if mode == APPROXIMATE else None
        self.num_probes = approximation.num_probes if approximation else None

    def filter(self, share: str | None) -> Any:
        if share is None:
            return None
        attribute, value = self.filters[share]
        return f"`{attribute}` = '{value}'"

    def search(self, query: Any, filtered: Any) -> Any:
        search = self.table.search(query, vector_column_name="vector").distance_type("cosine").limit(K)
        search = search.nprobes(self.num_probes) if self.num_probes else search.bypass_vector_index()
        if filtered:
            search = search.where(filtered, prefilter=True)
        return search.select(["image", "_distance"]).to_arrow()["image"].to_numpy()


class Faiss:
    """IndexFlatIP, or IndexIVFFlat with the fewest probes that reach a recall of 0.95. Filters are bitmaps at hand."""

    def __init__(self, inputs: "Inputs", mode: str) -> None:
        import faiss

        from benchmarks.search.inputs import MASKS
        from fclip.files import read_json

        self.faiss: Any = faiss
        self.is_exact = mode == EXACT
        self.index = faiss.read_index(str(inputs.folder / "faiss" / f"{mode}.index"))
        self.masks = dict(zip(inputs.filters, inputs.load(MASKS), strict=True))
        self.num_probes = read_json(inputs.folder / "faiss" / "probes.json")

    def filter(self, share: str | None) -> Any:
        if share is None:
            return None
        return self.faiss.IDSelectorBitmap(self.masks[share])

    def search(self, query: Any, filtered: Any) -> Any:
        selected = {"sel": filtered} if filtered is not None else {}
        if self.is_exact:
            parameters = self.faiss.SearchParameters(**selected) if selected else None
        else:
            parameters = self.faiss.SearchParametersIVF(nprobe=self.num_probes, **selected)
        return self.index.search(query[None], K, params=parameters)[1][0]


TOOLS: dict[str, Callable[["Inputs", str], Tool]] = {OURS: Ours, "LanceDB": LanceDB, "FAISS": Faiss}


def answer(tool: Tool, queries: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Return for each query the seconds of the filter and of the search, and the images that were found."""
    chosen = queries[job["queries"]]
    for query in chosen[:WARM_UP]:
        tool.search(query, tool.filter(job["share"]))
    seconds, images = [], []
    for query in chosen:
        began = time.perf_counter()
        filtered = tool.filter(job["share"])
        searched = time.perf_counter()
        found = tool.search(query, filtered)
        seconds.append((searched - began, time.perf_counter() - searched))
        images.append([int(image) for image in found if image >= 0])
    return {"seconds": seconds, "images": images}


def memory(tool: Tool, queries: Any) -> dict[str, float]:
    """Return the peak of the resident memory in MiB after some queries, and what of it is not mapped from files now."""
    for query in islice(cycle(queries), MEMORY_QUERIES):
        tool.search(query, tool.filter(None))
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(fields[key].split()[0]) / 2**10 for name, key in (("peak", "VmHWM"), ("own", "RssAnon"))}


def main() -> None:
    command, name, mode, folder = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # tools may print
    from benchmarks.search.inputs import QUERIES, read_inputs

    inputs = read_inputs(Path(folder))
    queries, tool = inputs.load(QUERIES), TOOLS[name](inputs, mode)
    if command == "memory":
        print(json.dumps(memory(tool, queries)), file=answers)
        return
    for line in sys.stdin:
        print(json.dumps(answer(tool, queries, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
