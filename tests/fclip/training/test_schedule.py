"""Learning rates and candidate steps."""

import pytest

from fclip.training.schedule import candidate_steps, learning_rate


def test_the_rate_warms_up_and_decays_to_zero() -> None:
    rates = [learning_rate(step, num_steps=100, peak=2.0, warmup_fraction=0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert max(rates) == pytest.approx(2.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.01


def test_without_warm_up_the_rate_starts_at_the_peak() -> None:
    assert learning_rate(0, num_steps=1, peak=2.0, warmup_fraction=0.0) == 2.0


@pytest.mark.parametrize(
    ("num_steps", "num_candidates", "steps"),
    [(100, 5, (4, 16, 36, 64, 100)), (20, 3, (3, 9, 20)), (2, 5, (1, 2)), (1, 1, (1,)), (7, 1, (7,))],
)
def test_candidate_steps_are_dense_early_and_include_the_last(
    num_steps: int, num_candidates: int, steps: tuple[int, ...]
) -> None:
    assert candidate_steps(num_steps, num_candidates) == steps
