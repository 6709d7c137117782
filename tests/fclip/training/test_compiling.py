"""torch.compile is used where it is told to be, or where it pays."""

import pytest
import torch

from fclip.training.compiling import STEPS_THAT_PAY, compiles


@pytest.mark.parametrize(
    ("wanted", "device", "num_steps", "expected"),
    [
        ("auto", "cuda", STEPS_THAT_PAY, True),
        ("auto", "cuda", STEPS_THAT_PAY - 1, False),
        ("auto", "cpu", 10**6, False),
        (True, "cpu", 1, True),
        (False, "cuda", 10**6, False),
    ],
)
def test_where_it_is_used(wanted: bool, device: str, num_steps: int, expected: bool) -> None:
    assert compiles(wanted, torch.device(device), num_steps) == expected
