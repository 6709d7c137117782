"""The results as tables in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

MAX_P50_RATIO = 2.0  # at one client
MIN_THROUGHPUT_RATIO = 0.6  # at the largest number of clients
MAX_GROWTH = 0.05  # of memory, from the second tenth of the requests to the last one
IN_PROCESS, BATCHED, UNBATCHED, HEALTH = "in process", "service", "service, no batching", "service, /healthz"


def show_load(console: Console, points: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> None:
    """Print latency and throughput by number of clients; ratios beyond their limits are red."""
    table = Table("clients", "", title=title, box=None, title_justify="left")
    headings = ("p50, ms", "p99, ms", "requests/s", "p50 ratio", "throughput ratio", "processor of the clients")
    for heading in headings:
        table.add_column(heading, justify="right")
    most = max(points, key=int)
    for clients, rows in points.items():
        base = rows[IN_PROCESS]
        for name, row in rows.items():
            shown = ["", "", ""]
            if name != IN_PROCESS:
                slower, faster = row["p50_ms"] / base["p50_ms"], row["per_second"] / base["per_second"]
                is_limited = name == BATCHED
                shown = [
                    _ratio(slower, is_limited and clients == "1" and slower > MAX_P50_RATIO),
                    _ratio(faster, is_limited and clients == most and faster < MIN_THROUGHPUT_RATIO),
                    f"{row['client_cpu']:.0%}",
                ]
            if name == HEALTH:
                shown[:2] = "", ""
            times = (f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}", f"{row['per_second']:,.0f}")
            table.add_row(clients if name == IN_PROCESS else "", name, *times, *shown)
    table.caption_justify = "left"
    table.caption = (
        f"limits of the service: p50 at most {MAX_P50_RATIO:g} times that in process with 1 client, throughput at "
        f"least {MIN_THROUGHPUT_RATIO:g} times with {most}\nin process: latency of threads with one query each; "
        "throughput of these, or of one thread with batches of as many queries, whichever is higher"
    )
    console.print(table)


def _ratio(value: float, is_beyond: bool) -> str:
    return f"[bold red]{value:.2f}[/]" if is_beyond else f"{value:.2f}"


def growth(run: Mapping[str, Any]) -> float:
    """Return the growth of the service's own memory from the second tenth of a run to the last one, as a share."""
    own = run["memory"]["own"]
    return float(own[-1] / own[1] - 1)


def show_endurance(console: Console, runs: Mapping[str, Mapping[str, Any]]) -> None:
    """Print memory and answers of each run; what is beyond its limit is red."""
    table = Table("", title="Many requests", box=None, title_justify="left")
    for heading in ("requests", "requests/s", "p99, ms", "longest, ms", "wrong", "own memory, MiB", "growth"):
        table.add_column(heading, justify="right")
    for heading in ("answers by index", "moves", "builds"):
        table.add_column(heading, justify="right")
    for name, run in runs.items():
        wrong, grown = run["num_problems"], growth(run)
        own = run["memory"]["own"]
        table.add_row(
            name,
            f"{run['num_requests']:,}",
            f"{run['num_requests'] / run['seconds']:,.0f}",
            f"{run['p99_ms']:.1f}",
            f"{run['max_ms']:.0f}",
            f"[bold red]{wrong}[/]" if wrong else "0",
            f"{own[1]:.0f} to {own[-1]:.0f}",
            f"[bold red]{grown:.1%}[/]" if grown > MAX_GROWTH else f"{grown:.1%}",
            " + ".join(f"{number:,}" for number in run["indexes"].values()),
            str(run.get("moves", "")),
            str(run.get("builds", "")),
        )
    table.caption_justify = "left"
    table.caption = (
        f"own memory: not mapped from files, medians of the second and the last tenth; limit of growth: "
        f"{MAX_GROWTH:.0%}\nwrong: errors, and answers that are not those of the index that they name"
    )
    console.print(table)
    for run in runs.values():
        for problem in run["problems"]:
            console.print(problem, style="red", markup=False)
