"""Measure the load that the search service bears, compared with the same encoder and index called in process.

python -m benchmarks.serve --work DIR [--products N] [--requests N] [--memory-requests N] [--rounds N] [--out JSON]

The service is `fclip serve`, its clients are one other process on the same machine. They send `POST /v1/search` with
different short texts, and ask for 10 products. The products are random, since only the encoder (fclip-tiny) and the
size of the index matter. All are measured in turn, and medians are shown. Afterwards, 32 clients send many requests to
a new service, and again while indexes are built and the pointer moves between two models every 10 seconds; each answer
is compared with what the index that it names finds. Run nothing else at the same time. DIR keeps the indexes.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.command import run_benchmark
from benchmarks.ingest.machine import machine_facts
from benchmarks.serve.client import Job
from benchmarks.serve.endurance import NUM_CLIENTS, changing, endure
from benchmarks.serve.processes import Service, ask, finish, service, start
from benchmarks.serve.report import BATCHED, HEALTH, IN_PROCESS, UNBATCHED, show_endurance, show_load
from benchmarks.serve.workspace import make_workspace, texts
from fclip.errors import UserError
from fclip.files import write_json

CLIENTS = (1, 8, 32)
WARM_UP = 200
WIDTH = 150
Row = Mapping[str, float]


def measure(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Return latency and throughput by number of clients, and memory and answers over many requests."""
    work = arguments.work.resolve()
    workspace = work / f"products-{arguments.products}"
    workspace.mkdir(parents=True, exist_ok=True)
    make_workspace(workspace, arguments.products)
    facts = machine_facts()
    title = f"Search in {arguments.products:,} random products with fclip-tiny, {facts['cores']} cores"
    points = measure_load(workspace, work, arguments.requests, arguments.rounds)
    show_load(console, points, title)
    results = {"machine": facts, "products": arguments.products, "requests": arguments.requests, "load": points}
    if arguments.memory_requests:
        results["endurance"] = measure_endurance(workspace, work, arguments.memory_requests)
        show_endurance(console, results["endurance"])
    return results


def measure_load(workspace: Path, work: Path, num_requests: int, rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return, by number of clients, the medians of the rounds for the service and for calls in process."""
    measured: dict[int, dict[str, list[Row]]] = {
        clients: {name: [] for name in (IN_PROCESS, BATCHED, UNBATCHED, HEALTH)} for clients in CLIENTS
    }
    with (
        service(workspace, work / "service.log", batching=True) as batched,
        service(workspace, work / "unbatched.log", batching=False) as unbatched,
    ):
        services = {BATCHED: batched, UNBATCHED: unbatched}
        for each in services.values():
            ask(Job(each.port, max(CLIENTS), WARM_UP, texts()))
        for _ in range(rounds):
            given = {"texts": texts(), "num_requests": num_requests, "callers": CLIENTS}
            direct = finish(start("benchmarks.serve.in_process", workspace, "load", given=given))
            for clients, rows in measured.items():
                rows[IN_PROCESS].append(_direct_row(direct[str(clients)], num_requests))
                for name, each in services.items():
                    rows[name].append(_row(each, Job(each.port, clients, num_requests, texts())))
                rows[HEALTH].append(_row(batched, Job(batched.port, clients, num_requests, [])))
    return {str(clients): {name: _medians(each) for name, each in rows.items()} for clients, rows in measured.items()}


def _row(each: Service, job: Job) -> Row:
    answer = ask(job)
    if answer["num_problems"]:
        raise UserError(f"{answer['num_problems']} requests failed: {answer['problems'][0]}; {each.log} may say why")
    share = answer["cpu_seconds"] / answer["seconds"]
    latency = {name: answer[name] for name in ("p50_ms", "p99_ms", "max_ms")}
    return {**latency, "per_second": job.num_requests / answer["seconds"], "client_cpu": share}


def _direct_row(answer: Mapping[str, float], num_requests: int) -> Row:
    per_second = {name: num_requests / answer[f"{name}_seconds"] for name in ("threads", "batches")}
    latency = {name: answer[name] for name in ("p50_ms", "p99_ms", "max_ms")}
    return {**latency, "per_second": max(per_second.values()), **{f"{k}_per_second": v for k, v in per_second.items()}}


def _medians(rows: Sequence[Row]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def measure_endurance(workspace: Path, work: Path, num_requests: int) -> dict[str, dict[str, Any]]:
    """Return memory and answers over many requests, without and with changes of what is published."""
    expected = work / "expected.json"
    write_json(expected, finish(start("benchmarks.serve.in_process", workspace, "expected", given={"texts": texts()})))
    job = Job(0, NUM_CLIENTS, num_requests, texts(), expected=str(expected))
    with service(workspace, work / "service.log", batching=True) as each:
        still = endure(each, replace(job, port=each.port))
    with service(workspace, work / "service.log", batching=True) as each, changing(workspace) as numbers:
        moving = {**endure(each, replace(job, port=each.port)), **numbers}
    runs = {"nothing changes": still, "the pointer moves": moving}
    return {name: {"num_requests": num_requests, **run} for name, run in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for the indexes")
    parser.add_argument("--products", type=int, default=40_000, help="number of random products (default: 40,000)")
    parser.add_argument("--requests", type=int, default=2000, help="requests of each measurement (default: 2,000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each measurement (default: 3)")
    parser.add_argument(
        "--memory-requests", type=int, default=100_000, help="requests while memory is measured (default: 100,000)"
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    run_benchmark(parser, measure, Console(width=WIDTH))


if __name__ == "__main__":
    main()
