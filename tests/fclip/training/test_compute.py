"""torch.compile is used if configured, or if it pays off. Padding before convolutions does not change a step."""

from copy import deepcopy

import pytest
import timm
import torch

from fclip.training.compute import MIN_STEPS_TO_COMPILE, pad_before_convolutions, should_compile


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


def test_padding_before_convolutions_changes_neither_features_nor_gradients() -> None:
    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    padded = deepcopy(network)
    pad_before_convolutions(padded)
    replaced = [
        (before, after)
        for before, after in zip(network.modules(), padded.modules(), strict=True)
        if type(before) is not type(after)
    ]
    assert len(replaced) == 7, "the depthwise convolutions with a kernel of 5 and a stride of 1"
    assert padded.state_dict().keys() == network.state_dict().keys()
    images = torch.randn(2, 3, 64, 64)
    for each in (network, padded):
        each(images).square().mean().backward()
    torch.testing.assert_close(padded(images), network(images))
    for before, after in zip(network.parameters(), padded.parameters(), strict=True):
        torch.testing.assert_close(after.grad, before.grad, rtol=1e-3, atol=1e-6)
