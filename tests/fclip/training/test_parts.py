"""What training leaves still."""

from typing import Literal

import pytest
import torch
from torch import nn

from fclip.training.parts import set_mode


class Towers(nn.Module):
    """An image tower with batch normalisation and dropout, and a text tower with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
        self.text = nn.Sequential(nn.Dropout())


@pytest.mark.parametrize(
    ("trainable", "image", "text"), [("heads", False, False), ("image_tower", True, False), ("all", True, True)]
)
def test_only_tuned_towers_drop_out_and_none_changes_its_batch_statistics(
    trainable: Literal["heads", "image_tower", "all"], image: bool, text: bool
) -> None:
    model = Towers()
    before = {name: value.clone() for name, value in model.visual[1].state_dict().items()}
    set_mode(model, trainable, training=True)
    assert (model.visual[2].training, model.text[0].training) == (image, text)
    model.visual(torch.randn(8, 3, 4, 4) + 5)
    assert all(torch.equal(value, before[name]) for name, value in model.visual[1].state_dict().items())
    set_mode(model, trainable, training=False)
    assert not any(module.training for module in model.modules())
