"""Tables for people."""

from collections.abc import Mapping
from statistics import median

from rich.console import Console, Group
from rich.table import Table

from benchmarks.ingest.runs import WORKERS
from benchmarks.ingest.scale import IncrementalIngest, MemoryUse
from benchmarks.ingest.speed import IngestSpeed

WANTED_RATIO = 1.5
MAX_PEAK = 1.5e9  # bytes

NOTE = (
    "Images/s leave out what each side spends on starting: fclip from the end of its imports, img2dataset from its "
    "first shard's start to its last's end, both medians of all rounds. fclip does more in that time: it validates "
    "every row, finds near-duplicates, splits, and keeps what it refuses; img2dataset stores images, captions and "
    "columns. An image that is small enough is kept byte for byte by both."
)


def show_speed(console: Console, name: str, speed: IngestSpeed) -> None:
    """Images a second of all, and the parts of fclip's CPU time."""
    table = Table(title=f"{name}: {speed.num_images} images, {speed.num_bytes / 1e6:.0f} MB", title_justify="left")
    for column in ("", "images/s", "of fclip's", "seconds", "with start-up"):
        table.add_column(column, justify="left" if not column else "right")
    ours = median(run.seconds for run in speed.files)

    def add(label: str, seconds: list[float], whole: list[float] | None = None) -> None:
        middle = median(seconds)
        spread = f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        start = f"{median(whole):.1f}" if whole else ""
        table.add_row(label, f"{speed.rate(middle):.0f}", f"{ours / middle:.2f}×", spread, start)

    add("fclip", [run.seconds for run in speed.files], [run.whole_seconds for run in speed.files])
    add("fclip, as the dataset ships", [r.seconds for r in speed.shipped], [r.whole_seconds for r in speed.shipped])
    if speed.peer:
        settings = speed.settings
        assert settings is not None
        label = f"img2dataset ({settings.output_format}, {settings.processes} × {settings.threads} threads)"
        add(label, [run.seconds for run in speed.peer], [run.whole_seconds for run in speed.peer])
    for what, measured in (("decoding alone", speed.decoding), ("… shrunk and encoded", speed.converting)):
        for kind, seconds in measured.items():
            add(f"{what}, {WORKERS} {kind}", list(seconds))
    console.print(table)
    if ratios := speed.ratios:
        listed = ", ".join(f"{name} {ratio:.2f}×" for name, ratio in ratios.items())
        verdict = "yes" if ratios["files"] >= WANTED_RATIO else "NO"
        console.print(f"fclip over img2dataset: {listed} (files at least {WANTED_RATIO}×: {verdict})")
        if lost := [run.num_images for run in speed.peer if run.num_images != speed.num_images]:
            console.print(f"img2dataset took in {min(lost)} of {speed.num_images} images")
    run = speed.files[-1]
    console.print(
        f"fclip: {run.num_rows} rows, {run.num_products} products, {run.num_images} images; "
        f"peak {median(each.peak_bytes for each in speed.files) / 1e6:.0f} MB"
    )
    console.print(_parts(speed))


def show_memory(console: Console, name: str, memory: MemoryUse) -> None:
    """Peaks once and repeated."""
    table = Table(title=f"{name}: memory, whatever the catalog's size", title_justify="left")
    for column in ("rows", "peak MB", "seconds", "rows/s"):
        table.add_column(column, justify="right")
    for run in (memory.once, memory.repeated):
        rate = run.num_rows / run.seconds
        table.add_row(f"{run.num_rows}", f"{run.peak_bytes / 1e6:.0f}", f"{run.seconds:.1f}", f"{rate:.0f}")
    console.print(table)
    fine = memory.once.peak_bytes < MAX_PEAK and memory.repeated.peak_bytes < MAX_PEAK
    growth = memory.repeated.peak_bytes / memory.once.peak_bytes
    console.print(
        f"below {MAX_PEAK / 1e9} GB: {'yes' if fine else 'NO'}; {growth:.2f}× at {memory.repetitions}× the rows"
    )


def show_incremental(console: Console, name: str, found: IncrementalIngest) -> None:
    """Time shares and packs of a second ingest."""
    first, second = (median(run.seconds for run in runs) for runs in (found.first, found.second))
    console.print(
        f"{name}: 1 % new, 1 % changed, 1 % deleted: {second:.1f} s after {first:.1f} s ({second / first:.1%} of the "
        f"time); {found.num_identical} of {found.num_packs} old packs byte-identical, {found.num_new_packs} new "
        f"(all of the old and one new: {'yes' if found.holds else 'NO'})"
    )


def show_machine(console: Console, facts: Mapping[str, object]) -> None:
    """One line of what it was measured on, one of what the numbers mean."""
    line = ", ".join(f"{name} {value}" for name, value in facts.items())
    console.print(Group(line, NOTE))


def _parts(speed: IngestSpeed) -> Table:
    run = speed.profiled
    total = sum(run.parts.values())
    table = Table(
        title=f"fclip's CPU time: {total:.1f} s in {run.seconds:.1f} s on {WORKERS} cores, "
        f"{run.main_thread_seconds:.1f} s of it in the main thread (one more run, clocked)",
        title_justify="left",
    )
    for column in ("part", "CPU s", "share", "µs an image"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, seconds in run.parts.items():
        table.add_row(part, f"{seconds:.2f}", f"{seconds / total:.1%}", f"{seconds / speed.num_images * 1e6:.0f}")
    return table
