"""Random choices are deterministic and follow their weights."""

import numpy as np

from fclip.training.sampling import choose_alternatives, derive_seed, shuffled_order


def test_seeds_are_distinct_and_deterministic() -> None:
    seeds = {
        derive_seed(seed, purpose, step) for seed in range(3) for purpose in ("step", "order") for step in range(50)
    }
    assert len(seeds) == 300
    assert derive_seed(0, "step", 1) == derive_seed(0, "step", 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_orders_are_permutations_that_differ_by_epoch_and_seed() -> None:
    assert sorted(shuffled_order(0, 1, 100)) == list(range(100))
    assert (shuffled_order(0, 1, 100) == shuffled_order(0, 1, 100)).all()
    assert (shuffled_order(0, 1, 100) != shuffled_order(0, 2, 100)).any()
    assert (shuffled_order(1, 1, 100) != shuffled_order(0, 1, 100)).any()


def test_choices_follow_their_weights() -> None:
    chosen = choose_alternatives(0, "captions", 0, [[1.0, 0.0, 3.0]] * 4000)
    shares = np.bincount(chosen, minlength=3) / 4000
    assert shares[1] == 0
    assert abs(shares[0] - 0.25) < 0.03


def test_a_single_alternative_is_always_chosen() -> None:
    assert choose_alternatives(3, "images", 0, [[0.2], [7.0, 0.0]]).tolist() == [0, 0]
