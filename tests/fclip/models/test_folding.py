"""Folding of batch norms: the same features, and a way back."""

import timm
import torch
from torch import nn

from fclip.models.folding import fold_batch_norms


def test_a_folded_model_gives_the_same_features_and_can_be_restored() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(timm.create_model("test_efficientnet", num_classes=8)).train()
    pixels = torch.rand(4, 3, 64, 64)
    model(pixels)  # statistics that are not the initial ones
    model.eval()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(pixels)
        restore = fold_batch_norms(model)
        torch.testing.assert_close(model(pixels), expected, atol=1e-5, rtol=1e-4)
        assert len(model.state_dict()) < len(state)
    restore()
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with torch.inference_mode():
        assert torch.equal(model(pixels), expected)
