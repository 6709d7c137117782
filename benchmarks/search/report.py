"""The results as tables in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.search.comparison import MODES, PEERS, Row
from benchmarks.search.tools import OURS, TOOLS


def show_rows(console: Console, rows: Sequence[Row], title: str) -> None:
    """Print time, ratio and recall of the tools; ratios above 1 are red."""
    table = Table("search", "filter", title=f"{title}: milliseconds of a query, and recall@10", box=None)
    table.title_justify = "left"
    for heading in (*TOOLS, *(f"{OURS}/{peer}" for peer in PEERS), *(f"recall {name}" for name in TOOLS)):
        table.add_column(heading, justify="right")
    for row in rows:
        times = [f"{row.milliseconds[name]:,.2f}" for name in TOOLS]
        ratios = [f"[{'red' if row.ratio[peer] > 1 else 'default'}]{row.ratio[peer]:.2f}[/]" for peer in PEERS]
        recall = [f"{row.recall[name]:.3f}" for name in TOOLS]
        table.add_row(row.mode, f"{row.left:.2%}" if row.filter else "none", *times, *ratios, *recall)
    console.print(table)


def show_sizes(
    console: Console, builds: Mapping[str, Mapping[str, Any]], memory: Mapping[str, Mapping[str, Any]], title: str
) -> None:
    """Print seconds and size of each index, and the memory of a process that searches it."""
    table = Table("search", "tool", title=f"{title}: build, size and memory", box=None)
    table.title_justify = "left"
    for heading in ("build, s", "of the processor", "size, MiB", "peak memory, MiB", "not mapped, MiB"):
        table.add_column(heading, justify="right")
    for mode in MODES:
        for tool in TOOLS:
            built, used = builds[tool].get(mode), memory.get(mode, {}).get(tool)
            if built or used:
                sizes: tuple[str, ...] = ("", "", "")
                if built:
                    times = (f"{built[name]:,.1f}" for name in ("seconds", "cpu_seconds"))
                    sizes = (*times, f"{built['bytes'] / 2**20:,.0f}")
                table.add_row(mode, tool, *sizes, *((f"{used['peak']:,.0f}", f"{used['own']:,.0f}") if used else ()))
    console.print(table)


def show_growth(console: Console, exponents: Mapping[str, Mapping[str, float]]) -> None:
    """Print with which power of the number of images time grows."""
    table = Table("exponent of growth", box=None)
    for tool in TOOLS:
        table.add_column(tool, justify="right")
    for what, by_tool in exponents.items():
        table.add_row(what, *(f"{by_tool[tool]:.2f}" if tool in by_tool else "" for tool in TOOLS))
    console.print(table)
