"""Tables for people."""

from collections.abc import Mapping, Sequence
from statistics import median

from rich.console import Console, Group
from rich.table import Table

from benchmarks.train.gpu import utilisation
from benchmarks.train.quality import QualityRun
from benchmarks.train.setup import Precision, TrainingSetup
from benchmarks.train.speed import FCLIP, MAX_EXTRA_TIME, UPPER_BOUND, TrainingSpeed, open_clip_name
from benchmarks.train.throughput import TrainingRun

NOTE = (
    "Samples/s are of settled steps: of each epoch without its first ones, while data workers fill their queues, and "
    "without its last ones, when they have no more to do. `Whole` is of the process from its start to its end: "
    "imports, decoding ahead, saving, and with fclip two validations. All are medians of the rounds. Both sides crop "
    "at random, and neither mirrors, which open_clip's training cannot be told."
)


def show_machine(console: Console, facts: Mapping[str, object]) -> None:
    """One line of what it was measured on, one of what the numbers mean."""
    console.print(Group(", ".join(f"{name} {value}" for name, value in facts.items()), NOTE))


def show_speed(
    console: Console, setup: TrainingSetup, speed: TrainingSpeed, *, flops: float, peak: float | None
) -> None:
    """Samples a second of all; on a GPU, how well it is used."""
    on_gpu = setup.device == "cuda"
    title = f"{setup.model}, {speed.precision}, {setup.device}: {setup.epochs} × {setup.steps} batches of "
    table = Table(title=f"{title}{setup.batch_size}; {flops / 1e9:.2f} GFLOP a sample", title_justify="left")
    columns = ["", "samples/s", "of fclip's", "waits for data", "whole, samples/s", "whole, s"]
    for column in columns + (["MFU", "GPU memory"] if on_gpu else []):
        table.add_column(column, justify="left" if not column else "right")
    ours = speed.rate(FCLIP)
    labels = {
        open_clip_name(form): f"{open_clip_name(form)}, {workers} workers" for form, workers in speed.workers.items()
    }
    for name, runs in speed.runs.items():
        rate = speed.rate(name)
        cells = [labels.get(name, name), _spread([run.rate for run in runs]), f"{rate / ours:.2f}×"]
        if name == UPPER_BOUND:
            cells += ["", "", ""]
        else:
            cells += [f"{median(run.wait_fraction for run in runs):.1%}", f"{speed.whole_rate(name):.1f}"]
            cells += [f"{median(run.whole_seconds for run in runs):.1f}"]
        if on_gpu:
            cells += [f"{utilisation(rate, flops, peak):.1%}" if peak else "?", _memory(runs)]
        table.add_row(*cells)
    console.print(table)
    if speed.ratios:
        listed = ", ".join(f"{name} {ratio:.2f}×" for name, ratio in speed.ratios.items())
        console.print(f"fclip over open_clip: {listed}")
    over = ", ".join(f"{name} {share:+.1%}" for name, share in speed.extra_time.items())
    fine = speed.extra_time[FCLIP] <= MAX_EXTRA_TIME
    verdict = "yes" if fine else "NO"
    console.print(f"over the limit's time: {over} (fclip at most {MAX_EXTRA_TIME:.0%}: {verdict})", highlight=False)


def show_precisions(
    console: Console, device: str, models: Mapping[str, Mapping[Precision, Sequence[TrainingRun]]]
) -> None:
    """fclip's samples a second by model and precision, and which pays."""
    table = Table(title=f"fclip's precision on {device}", title_justify="left")
    for column in ("", "fp32, samples/s", "bf16, samples/s", "bf16 of fp32's"):
        table.add_column(column, justify="left" if not column else "right")
    for model, runs in models.items():
        rates = {precision: [run.rate for run in found] for precision, found in runs.items()}
        if {"fp32", "bf16"} <= rates.keys():
            ratio = median(rates["bf16"]) / median(rates["fp32"])
            pays = "pays" if ratio > 1 else "does not pay"
            table.add_row(model, _spread(rates["fp32"]), _spread(rates["bf16"]), f"{ratio:.2f}×: {pays}")
    console.print(table)


def show_quality(console: Console, quality: QualityRun) -> None:
    """Every candidate's minutes and score, and the first that reaches the target."""
    table = Table(title=f"{quality.metric} ({quality.num_items} products)", title_justify="left")
    for column in ("candidate", "minutes", "score"):
        table.add_column(column, justify="left" if column == "candidate" else "right")
    for each in quality.candidates:
        table.add_row(each.name, f"{each.minutes:.1f}", f"{each.score:.3f}")
    console.print(table)
    best = f"best {quality.best.score:.3f} after {quality.best.minutes:.1f} minutes"
    if first := quality.first_at_target:
        said = f"{quality.target} was reached after {first.minutes:.1f} minutes ({first.name}); {best}"
    else:
        said = f"{quality.target} was NOT reached in {quality.whole_minutes:.1f} minutes: {best}"
    console.print(said, highlight=False)


def _spread(values: Sequence[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _memory(runs: Sequence[TrainingRun]) -> str:
    return f"{median(run.gpu_bytes or 0 for run in runs) / 2**30:.1f} GiB"
