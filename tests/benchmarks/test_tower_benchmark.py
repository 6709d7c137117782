"""Ways to run a tower compute what the tower computes."""

import pytest
import torch
from open_clip.timm_model import TimmModel

from benchmarks.tower.variants import backward_variants, forward_variants


@pytest.fixture(scope="module")
def tower() -> TimmModel:
    torch.manual_seed(0)
    made = TimmModel("tf_efficientnet_lite0", embed_dim=16, image_size=64, pool="", proj="linear")
    for name, buffer in made.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
        elif name.endswith("running_mean"):
            buffer.normal_(0.0, 0.1)
    return made.eval()


PIXELS = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("channels last", 0.9999),
        ("batch norms fused", 0.9999),
        ("batch norms fused, channels last", 0.9999),
        ("bfloat16", 0.99),
        ("int8", 0.8),
    ],
)
def test_forward(tower: TimmModel, name: str, least: float) -> None:
    made = forward_variants(tower, PIXELS)[name]()
    with torch.inference_mode():
        cosines = torch.nn.functional.cosine_similarity(tower(PIXELS), made(PIXELS).float())
    assert float(cosines.min()) > least


def test_fused_towers_have_no_batch_norm(tower: TimmModel) -> None:
    from benchmarks.tower.variants import fused

    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in tower.modules()) > 40
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fused(tower).modules())


def test_backward_leaves_the_tower_alone(tower: TimmModel) -> None:
    for name in ("channels last", "bfloat16"):
        made = backward_variants(tower)[name]()
        made(PIXELS).float().square().mean().backward()
    assert all(parameter.grad is None for parameter in tower.parameters())
