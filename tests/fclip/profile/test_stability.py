"""PSI compared with closed forms, a naive loop and random samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fclip.profile.stability import SMOOTHING, population_stability_index, psi_chance_bound

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12)


def test_psi_equals_closed_forms() -> None:
    # Two bins, (1/2, 1/2) -> (9/10, 1/10): 0.4 ln 1.8 − 0.4 ln 0.2 = 0.4 ln 9.
    assert population_stability_index([500, 500], [900, 100], smoothing=0) == pytest.approx(0.4 * math.log(9))
    # Shares (p, q) swapped: 2 (p − q) ln(p / q).
    assert population_stability_index([30, 10], [10, 30], smoothing=0) == pytest.approx(math.log(3))
    assert population_stability_index([7, 0, 3], [70, 0, 30], smoothing=0) == 0
    assert population_stability_index([5, 0], [4, 1], smoothing=0) == math.inf
    # Smoothed by a half: shares (5.5, 0.5) / 6 and (4.5, 1.5) / 6.
    assert population_stability_index([5, 0], [4, 1]) == pytest.approx(math.log(5.5 / 4.5) / 6 + math.log(3) / 6)


@given(COUNTS)
def test_psi_equals_the_naive_sum_and_is_symmetric(pairs: list[tuple[int, int]]) -> None:
    reference, current = zip(*pairs, strict=True)
    found = population_stability_index(reference, current)
    if sum(reference) and sum(current):
        bins = [(r + SMOOTHING, c + SMOOTHING) for r, c in pairs if r or c]
        n, m = (sum(counts) for counts in zip(*bins, strict=True))
        naive = sum((c / m - r / n) * math.log((c / m) / (r / n)) for r, c in bins)
        assert found == pytest.approx(naive, abs=1e-12)
    else:
        assert found == 0
    assert found >= -1e-12
    assert found == pytest.approx(population_stability_index(current, reference))


@pytest.mark.parametrize(("num_bins", "n", "m"), [(5, 2000, 1000), (40, 5000, 5000)])
def test_psi_without_a_change_is_below_its_chance_bound(num_bins: int, n: int, m: int) -> None:
    random = np.random.default_rng(0)
    shares = np.full(num_bins, 1 / num_bins)
    samples = zip(random.multinomial(n, shares, 2000), random.multinomial(m, shares, 2000), strict=True)
    threshold = psi_chance_bound(num_bins, n, m)
    above = np.mean([population_stability_index(r, c) > threshold for r, c in samples])
    assert 0.003 < above < 0.02  # 1 of 100


def test_psi_without_a_comparison_is_zero() -> None:
    assert population_stability_index([], []) == population_stability_index([0, 0], [1, 2]) == 0
    assert psi_chance_bound(1, 10, 10) == psi_chance_bound(5, 0, 10) == 0
