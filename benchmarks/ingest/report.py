"""Tables of the ingest benchmark."""

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
    "Images/s exclude start-up: fclip is timed from the end of its imports, img2dataset from the start of its first "
    "shard to the end of its last one. All values are medians over the rounds. fclip does more in that time: it "
    "validates every row, finds near-duplicates, assigns splits and stores refused rows. img2dataset stores images, "
    "captions and columns. Both keep an image that is small enough byte for byte."
)


def show_speed(console: Console, name: str, speed: IngestSpeed) -> None:
    """Print the images per second of all tools, and fclip's CPU time by part."""
    table = Table(title=f"{name}: {speed.num_images} images, {speed.num_bytes / 1e6:.0f} MB", title_justify="left")
    for column in ("", "images/s", "relative to fclip", "seconds", "with start-up"):
        table.add_column(column, justify="left" if not column else "right")
    ours = median(run.seconds for run in speed.files)

    def add(label: str, seconds: list[float], whole: list[float] | None = None) -> None:
        typical = median(seconds)
        spread = f"{typical:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        with_start_up = f"{median(whole):.1f}" if whole else ""
        table.add_row(label, f"{speed.rate(typical):.0f}", f"{ours / typical:.2f}×", spread, with_start_up)

    add("fclip", [run.seconds for run in speed.files], [run.whole_seconds for run in speed.files])
    add(
        "fclip, original dataset",
        [r.seconds for r in speed.shipped],
        [r.whole_seconds for r in speed.shipped],
    )
    if speed.peer:
        settings = speed.settings
        assert settings is not None
        label = f"img2dataset ({settings.output_format}, {settings.processes} × {settings.threads} threads)"
        add(label, [run.seconds for run in speed.peer], [run.whole_seconds for run in speed.peer])
    for work, measured in (("decoding alone", speed.decoding), ("… and shrinking, encoding", speed.converting)):
        for kind, seconds in measured.items():
            add(f"{work}, {WORKERS} {kind}", list(seconds))
    console.print(table)
    if ratios := speed.ratios:
        listed = ", ".join(f"{name} {ratio:.2f}×" for name, ratio in ratios.items())
        verdict = "reached" if ratios["files"] >= WANTED_RATIO else "MISSED"
        console.print(f"fclip relative to img2dataset: {listed} (goal for files, {WANTED_RATIO}×: {verdict})")
        if incomplete := [run.num_images for run in speed.peer if run.num_images != speed.num_images]:
            console.print(f"img2dataset stored only {min(incomplete)} of {speed.num_images} images")
    run = speed.files[-1]
    console.print(
        f"fclip: {run.num_rows} rows, {run.num_products} products, {run.num_images} images; "
        f"peak memory {median(each.peak_bytes for each in speed.files) / 1e6:.0f} MB"
    )
    console.print(_parts(speed))


def show_memory(console: Console, name: str, memory: MemoryUse) -> None:
    """Print the peak memory with the rows once and repeated."""
    table = Table(title=f"{name}: peak memory by catalog size", title_justify="left")
    for column in ("rows", "peak MB", "seconds", "rows/s"):
        table.add_column(column, justify="right")
    for run in (memory.once, memory.repeated):
        rate = run.num_rows / run.seconds
        table.add_row(f"{run.num_rows}", f"{run.peak_bytes / 1e6:.0f}", f"{run.seconds:.1f}", f"{rate:.0f}")
    console.print(table)
    below_limit = memory.once.peak_bytes < MAX_PEAK and memory.repeated.peak_bytes < MAX_PEAK
    growth = memory.repeated.peak_bytes / memory.once.peak_bytes
    console.print(
        f"Peak below {MAX_PEAK / 1e9} GB: {'yes' if below_limit else 'NO'}; "
        f"{growth:.2f}× the memory with {memory.repetitions}× the rows"
    )


def show_incremental(console: Console, name: str, incremental: IncrementalIngest) -> None:
    """Print the time of the second ingest relative to the first, and how many packs stayed the same."""
    first, second = (median(run.seconds for run in runs) for runs in (incremental.first, incremental.second))
    console.print(
        f"{name}: 1 % of the products new, 1 % changed, 1 % deleted: {second:.1f} s after {first:.1f} s "
        f"({second / first:.1%} of the time); {incremental.num_identical} of {incremental.num_packs} old packs "
        f"byte-identical, {incremental.num_new_packs} new (all old packs kept and one new: "
        f"{'yes' if incremental.old_packs_unchanged else 'NO'})"
    )


def show_machine(console: Console, facts: Mapping[str, object]) -> None:
    """Print the facts about the machine, and how to read the numbers."""
    line = ", ".join(f"{name} {value}" for name, value in facts.items())
    console.print(Group(line, NOTE))


def _parts(speed: IngestSpeed) -> Table:
    run = speed.profiled
    total = sum(run.parts.values())
    table = Table(
        title=f"fclip's CPU time: {total:.1f} s in {run.seconds:.1f} s on {WORKERS} cores, "
        f"{run.main_thread_seconds:.1f} s of it in the main thread (from an additional, profiled run)",
        title_justify="left",
    )
    for column in ("part", "CPU s", "share", "µs per image"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, seconds in run.parts.items():
        table.add_row(part, f"{seconds:.2f}", f"{seconds / total:.1%}", f"{seconds / speed.num_images * 1e6:.0f}")
    return table
