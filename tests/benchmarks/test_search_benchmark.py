"""All tools of the benchmark find the nearest images that a filter leaves, and its figures are what they say."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lancedb", reason="the benchmark needs the package lancedb (the extra `search`)")
pytest.importorskip("faiss", reason="the benchmark needs the package faiss-cpu, which it installs for itself")

from benchmarks.search.builds import build_peer, record_file
from benchmarks.search.comparison import MODES, PEERS, compare, growth
from benchmarks.search.inputs import (
    ATTRIBUTE,
    QUERIES,
    SHARES,
    Inputs,
    draw_products,
    index_drawn,
    read_inputs,
    write_inputs,
)
from benchmarks.search.processes import Runner
from benchmarks.search.tools import EXACT, OURS, TOOLS, answer
from fclip.files import read_json
from fclip.search.catalog import Catalog
from fclip.search.manifest import CATALOG

NUM_IMAGES, NUM_QUERIES = 2000, 6


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("search")
    embeddings, queries = draw_products(NUM_IMAGES, dim=16, num_queries=NUM_QUERIES)
    index_drawn(folder / "index", embeddings)
    filters = {share: (ATTRIBUTE, share) for share in SHARES}
    made = write_inputs(folder, folder / "index", filters, queries, embeddings.text_vectors)
    for peer in PEERS:
        build_peer(peer, made)
    return made


class InProcess(Runner):
    """Runs the tools in this process."""

    @contextmanager
    def tool(self, tool: str, mode: str, folder: Path) -> Iterator[Any]:
        inputs = read_inputs(folder)
        opened, queries = TOOLS[tool](inputs, mode), inputs.load(QUERIES)
        yield SimpleNamespace(ask=lambda share, listed: answer(opened, queries, {"share": share, "queries": listed}))


@pytest.mark.parametrize("tool", TOOLS)
def test_exact_search_finds_the_nearest_that_a_filter_leaves(inputs: Inputs, tool: str) -> None:
    vectors, queries = np.load(inputs.vectors), inputs.load(QUERIES)
    catalog = Catalog(inputs.index / CATALOG)
    products = catalog.products(range(NUM_IMAGES))
    opened = TOOLS[tool](inputs, EXACT)
    for share in (None, *SHARES):
        left = [number for number in products if share is None or products[number].attributes[ATTRIBUTE] == share]
        found = answer(opened, queries, {"share": share, "queries": list(range(NUM_QUERIES))})
        for query, images in zip(queries, found["images"], strict=True):
            expected = sorted(left, key=lambda number: -float(vectors[number] @ query))[:10]
            assert images == expected, share
        assert np.shape(found["seconds"]) == (NUM_QUERIES, 2)


def test_rows_compare_all_tools(inputs: Inputs) -> None:
    rows = compare(InProcess(Path(), inputs.folder, threads=1), inputs, rounds=2, num_queries=NUM_QUERIES)
    assert [(row.mode, row.filter) for row in rows] == [(mode, share) for mode in MODES for share in (None, *SHARES)]
    for row in rows:
        assert all(row.filter_milliseconds[tool] < row.milliseconds[tool] for tool in TOOLS)
        assert row.ratio == {peer: row.milliseconds[OURS] / row.milliseconds[peer] for peer in PEERS}
        assert row.filter is None or row.left == pytest.approx(float(Fraction(row.filter)), rel=0.9)
        if row.mode == EXACT:
            assert set(row.recall.values()) == {1.0}
        else:
            assert row.recall[OURS] > 0.8


def test_a_tool_answers_in_its_own_process(inputs: Inputs, tmp_path: Path) -> None:
    runner = Runner(tmp_path, tmp_path, threads=1)
    with runner.tool(OURS, EXACT, inputs.folder) as tool:
        given = tool.ask("1/2", [1, 2])
    expected = answer(TOOLS[OURS](inputs, EXACT), inputs.load(QUERIES), {"share": "1/2", "queries": [1, 2]})
    assert given["images"] == expected["images"]


def test_builds_are_recorded(inputs: Inputs) -> None:
    for peer in PEERS:
        for mode in MODES:
            built = read_json(record_file(inputs.folder, peer))[mode]
            assert built["seconds"] > 0
            assert built["bytes"] > NUM_IMAGES * 16 * 4


def test_the_exponent_of_growth() -> None:
    sizes = [100, 1000, 5000]
    assert growth(sizes, [0.3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
