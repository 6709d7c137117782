"""The objective against open_clip's."""

import math

import pytest
import torch

from fclip.training.objective import clip_loss


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_open_clips(seed: int) -> None:
    from open_clip.loss import ClipLoss

    torch.manual_seed(seed)
    images = torch.randn(9, 16, requires_grad=True)
    texts = torch.randn(9, 16, requires_grad=True)
    scale = torch.tensor(20.0, requires_grad=True)
    ours = clip_loss(images, texts, scale)
    unit = torch.nn.functional.normalize
    theirs = ClipLoss()(unit(images, dim=-1), unit(texts, dim=-1), scale)
    torch.testing.assert_close(ours, theirs)
    of = [images, texts, scale]
    for mine, other in zip(torch.autograd.grad(ours, of), torch.autograd.grad(theirs, of), strict=True):
        torch.testing.assert_close(mine, other)


def test_equal_captions_keep_it_from_zero() -> None:
    features = torch.eye(4)
    assert clip_loss(features, features, torch.tensor(100.0)) < 1e-6
    same = torch.tensor([[1.0, 0.0]] * 4)
    assert clip_loss(same, same, torch.tensor(100.0)) == pytest.approx(math.log(4))
