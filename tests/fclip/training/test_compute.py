"""torch.compile is used if configured, or if it pays off."""

import pytest
import torch

from fclip.training.compute import MIN_STEPS_TO_COMPILE, should_compile


@pytest.mark.parametrize(
    ("wanted", "device", "num_steps", "expected"),
    [
        ("auto", "cuda", MIN_STEPS_TO_COMPILE, True),
        ("auto", "cuda", MIN_STEPS_TO_COMPILE - 1, False),
        ("auto", "cpu", 10**6, False),
        (True, "cpu", 1, True),
        (False, "cuda", 10**6, False),
    ],
)
def test_should_compile(wanted: bool, device: str, num_steps: int, expected: bool) -> None:
    assert should_compile(wanted, torch.device(device), num_steps) == expected
