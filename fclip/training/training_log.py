"""The training log: progress lines, a table of timings, and an optional profiler trace."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 10.0
TIMINGS_HEADER = "step,seconds,wait_seconds,samples\n"
PROFILED_STEPS, WARM_STEPS = 5, 3


class TrainingLog:
    """Reports the steps of a run to the log, to a table of timings, and optionally to a profiler.

    Args:
        timings: CSV file with one line per step: its seconds, and how many of them it waited for data.
        trace: folder for a profiler trace of a few steps (chrome://tracing, ui.perfetto.dev); None for no trace.
        enabled: whether this process writes anything.
    """

    def __init__(self, timings: Path | None = None, *, trace: Path | None = None, enabled: bool = True) -> None:
        self._timings, self._trace, self._enabled = timings, trace, enabled
        self._profiler: Any = None

    def begin(self, num_steps: int, steps_per_epoch: int, batch_size: int, first: int) -> None:
        """Record that the run starts or resumes after `first` steps."""
        self._num_steps, self._steps_per_epoch, self._batch_size = num_steps, steps_per_epoch, batch_size
        self._first = self._since = first
        self._began = self._logged_at = time.perf_counter()
        self._waited = 0.0
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
        self._began = now
        self._waited += waited
        if step not in (self._first + 1, self._num_steps) and now - self._logged_at < SECONDS_BETWEEN_LINES:
            return
        pace = (step - self._since) / max(now - self._logged_at, 1e-9)
        seconds_left = round((self._num_steps - step) / pace)
        _, epoch, rate, loss, norm, scale = row[:6]
        logger.info(
            "step %d/%d  epoch %.2f  loss %.3f  lr %.2e  gradient %.2f  scale %.1f  %.0f images/s  data wait %.0f%%  "
            "ETA %d:%02d",
            step,
            self._num_steps,
            epoch,
            loss,
            rate,
            norm,
            scale,
            pace * self._batch_size,
            100 * self._waited / max(now - self._logged_at, 1e-9),
            *divmod(seconds_left, 60),
        )
        self._logged_at, self._since, self._waited = now, step, 0.0

    def candidate(self, name: str, step: int, loss: float) -> None:
        """Record that the candidate `name` is saved and validated."""
        if self._enabled:
            logger.info("Saved candidate %s: validation loss %.4f", name, loss)
        self._began = self._logged_at = time.perf_counter()
        self._since, self._waited = step, 0.0
