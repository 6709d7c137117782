"""Prefetching of batches."""

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fclip.errors import UserError
from fclip.training.loader import PrefetchedBatches

PLAN = [np.random.default_rng(seed).permutation(30)[:8] for seed in range(6)]


class Numbers:
    """A source whose batches are their row numbers. It can be slow, and fail at a given batch."""

    size = 1

    def __init__(self, *, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.seconds, self.fails_at, self.made = seconds, fails_at, 0

    def __len__(self) -> int:
        return 1000

    def batches(self, plan: Sequence[NDArray[np.int64]], *, pinned: bool = False) -> Iterator[torch.Tensor]:
        for rows in plan:
            time.sleep(self.seconds)
            if self.made == self.fails_at:
                raise UserError("image abc: it is broken")
            self.made += 1
            yield torch.from_numpy(rows)


def test_batches_keep_the_order_of_the_plan() -> None:
    with PrefetchedBatches(Numbers(), PLAN) as batches:
        found = list(batches)
    assert all((batch.numpy() == rows).all() for batch, rows in zip(found, PLAN, strict=True))
    with PrefetchedBatches(Numbers(), PLAN[4:]) as batches:
        assert len(list(batches)) == 2
        assert next(batches, None) is None
    with PrefetchedBatches(Numbers(), []) as batches:
        assert not list(batches)


def test_two_batches_are_prefetched() -> None:
    source = Numbers()
    with PrefetchedBatches(source, PLAN) as batches:
        deadline = time.monotonic() + 20
        while source.made < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert source.made == 2
        next(batches)
        while source.made < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert source.made == 3


def test_waiting_time_is_measured() -> None:
    with PrefetchedBatches(Numbers(seconds=0.1), PLAN) as slow:
        list(slow)
    assert slow.seconds_waited > 0.4
    with PrefetchedBatches(Numbers(), PLAN) as quick:
        for _ in quick:
            time.sleep(0.02)
    assert quick.seconds_waited < slow.seconds_waited / 2


def test_errors_are_raised_in_the_consumer() -> None:
    with PrefetchedBatches(Numbers(fails_at=2), PLAN) as batches:
        assert len(next(batches)) == 8
        next(batches)
        with pytest.raises(UserError, match="image abc: it is broken"):
            next(batches)


def test_leaving_early_ends_the_thread() -> None:
    before, source = threading.active_count(), Numbers(seconds=0.01)

    def leave() -> None:
        with PrefetchedBatches(source, PLAN * 100) as batches:
            next(batches)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert threading.active_count() == before
    assert source.made < 10
