"""What chance decides: the same for the same place in a run, and as often as its weights say."""

import numpy as np

from fclip.training.sampling import choose, derive, order


def test_a_place_has_its_own_seed() -> None:
    seeds = {derive(seed, what, step) for seed in range(3) for what in ("step", "order") for step in range(50)}
    assert len(seeds) == 300
    assert derive(0, "step", 1) == derive(0, "step", 1)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_an_order_is_a_permutation_of_its_own() -> None:
    assert sorted(order(0, 1, 100)) == list(range(100))
    assert (order(0, 1, 100) == order(0, 1, 100)).all()
    assert (order(0, 1, 100) != order(0, 2, 100)).any()
    assert (order(1, 1, 100) != order(0, 1, 100)).any()


def test_choices_follow_their_weights() -> None:
    chosen = choose(0, "captions", 0, [[1.0, 0.0, 3.0]] * 4000)
    shares = np.bincount(chosen, minlength=3) / 4000
    assert shares[1] == 0
    assert abs(shares[0] - 0.25) < 0.03


def test_a_single_alternative_is_taken() -> None:
    assert choose(3, "images", 0, [[0.2], [7.0, 0.0]]).tolist() == [0, 0]
