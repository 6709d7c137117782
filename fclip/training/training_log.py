"""The training log: progress, a table of candidates, a table of timings, and an optional profiler trace."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fclip.progress import Tracker, text_table
from fclip.training.checkpoint import ValidatedCandidate
from fclip.training.output import candidate_name, epochs_done

logger = logging.getLogger(__name__)

MIN_WAIT_FRACTION = 0.1  # a step that waits longer for its data says so
TIMINGS_HEADER = "step,seconds,wait_seconds,samples\n"
PROFILED_STEPS, WARM_STEPS = 5, 3


class TrainingLog:
    """Shows the steps of a run, and writes them to a table of timings and optionally to a profiler.

    Args:
        timings: CSV file with one line per step: its seconds, and how many of them it waited for data.
        trace: folder for a profiler trace of a few steps (chrome://tracing, ui.perfetto.dev); None for no trace.
        enabled: whether this process writes anything.
    """

    def __init__(self, timings: Path | None = None, *, trace: Path | None = None, enabled: bool = True) -> None:
        self._timings, self._trace, self._enabled = timings, trace, enabled
        self._profiler: Any = None
        self._tracker: Tracker | None = None

    def begin(self, num_steps: int, steps_per_epoch: int, batch_size: int, first: int) -> None:
        """Record that the run starts or resumes after `first` steps."""
        self._num_steps, self._steps_per_epoch, self._batch_size = num_steps, steps_per_epoch, batch_size
        self._first = first
        self._began = time.perf_counter()
        if self._enabled and self._timings is not None and not self._timings.exists():
            self._timings.write_text(TIMINGS_HEADER)
        if self._trace is not None and self._enabled:
            self._profiler = torch.profiler.profile(
                schedule=torch.profiler.schedule(wait=1, warmup=WARM_STEPS, active=PROFILED_STEPS, repeat=1),
                on_trace_ready=torch.profiler.tensorboard_trace_handler(str(self._trace)),
                record_shapes=True,
                profile_memory=True,
            )
            self._profiler.start()

    def step(self, step: int, row: Sequence[float], waited: float) -> None:
        """Record a finished step: its row of the history, and the seconds that it waited for data."""
        now = time.perf_counter()
        if self._profiler is not None:
            self._profiler.step()
            if step - self._first == 1 + WARM_STEPS + PROFILED_STEPS:
                self._profiler.stop()
                logger.info("Wrote a profiler trace of %d steps to %s", PROFILED_STEPS, self._trace)
                self._profiler = None
        if not self._enabled:
            return
        if self._timings is not None:
            with self._timings.open("a") as file:
                file.write(f"{step},{now - self._began:.6f},{waited:.6f},{self._batch_size}\n")
        if self._tracker is None:  # not before: the loader shows progress of its own when it is opened
            total, done = (num_steps * self._batch_size for num_steps in (self._num_steps, self._first))
            self._tracker = Tracker("Training", total=total, unit="images", done=done)
        wait = waited / max(now - self._began, 1e-9)
        parts = [f"loss {row[3]:.3f}", f"step {step}/{self._num_steps}"]
        if wait >= MIN_WAIT_FRACTION:
            parts.append(f"{wait:.0%} waiting for data")
        self._tracker.advance(self._batch_size, ", ".join(parts))
        self._began = now

    def candidate(self) -> None:
        """Leave the time since the last step, in which a candidate was validated, out of the timings."""
        self._began = time.perf_counter()

    def end(self, validated: Sequence[ValidatedCandidate]) -> None:
        """Log the candidates of a finished run."""
        self.close()
        if not self._enabled:
            return
        rows = [
            (
                candidate_name(entry.kind, entry.step),
                str(entry.step),
                f"{epochs_done(entry.step, self._steps_per_epoch):.2f}",
                f"{entry.loss:.4f}",
            )
            for entry in validated
        ]
        table = text_table(("candidate", "step", "epoch", "validation loss"), rows)
        logger.info("Trained %d steps:\n%s", self._num_steps, table)

    def close(self) -> None:
        """Stop showing progress."""
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None
