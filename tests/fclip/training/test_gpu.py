"""Training on a GPU equals training on a CPU up to rounding, and can be resumed."""

import csv
import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from fclip.errors import UserError
from fclip.training.augment import augment, sample_augmentation
from fclip.training.config import AugmentConfig
from fclip.training.job import run_job
from fclip.training.loader import prefetch_to_device
from fclip.training.stop import Interrupted
from tests.fclip.training.test_resume import EVERYTHING
from tests.fclip.training.training_jobs import make_job, make_objective

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")

# TF32 has ten bits of mantissa, bfloat16 seven.
ROUNDING = {"fp32": 0.02, "bf16": 0.08}


def losses(out: Path) -> list[float]:
    with (out / "history.csv").open(newline="") as file:
        return [float(row["train_loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trainable": "image_tower"},
        {"trainable": "heads"},
        {"compile": True},
        {"gradient_checkpointing": True},
        {"objective": make_objective(micro_batch_size=3)},
        {"objective": make_objective(loss="siglip", positives="shared")},
        {"pixel_cache_gb": 0.0},
    ],
    ids=lambda changes: ",".join(changes) or "plain",
)
def test_losses_equal_a_run_on_a_cpu(
    precision: str, changes: dict[str, Any], tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    options = {
        "epochs": 2,
        "learning_rate": 2e-4,
        **changes,
    }  # a low learning rate, so that rounding errors do not grow
    on_cpu = run_job(make_job(tmp_path / "cpu", shop, tiny_base_model, **{**options, "compile": False}))
    on_gpu = run_job(make_job(tmp_path / "gpu", shop, tiny_base_model, device="cuda", precision=precision, **options))
    assert losses(on_gpu) == pytest.approx(losses(on_cpu), rel=ROUNDING[precision])
    assert [path.name for path in sorted(on_gpu.rglob("*"))] == [path.name for path in sorted(on_cpu.rglob("*"))]


def test_a_run_with_all_options_resumes(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    whole = run_job(make_job(tmp_path / "whole", shop, tiny_base_model, device="cuda", **EVERYTHING))
    job = make_job(tmp_path / "job", shop, tiny_base_model, device="cuda", **EVERYTHING)
    for after in (3, 6, 9):
        with pytest.raises(Interrupted):
            run_job(job, stop=lambda step, after=after: step >= after)
    assert losses(run_job(job)) == pytest.approx(losses(whole), rel=ROUNDING["fp32"])


def test_out_of_memory_names_the_parameters(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, device="cuda")
    gc.collect()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    allowed = torch.cuda.memory_reserved() + 32 * 2**20  # enough for the model but not for its optimiser
    torch.cuda.set_per_process_memory_fraction(allowed / total)
    try:
        with pytest.raises(UserError, match=r"out of memory with 8 rows.*finetune\.objective"):
            run_job(job)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_augmentation_equals_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = torch.randint(0, 256, (32, 40, 40, 3), dtype=torch.uint8, generator=generator)
    config = AugmentConfig(
        min_crop_area=0.4, flip=True, colour_jitter=0.4, greyscale=0.2, background=0.0, thumbnail=0.5, invert=0.2
    )
    sampled = sample_augmentation(config, len(batch), generator)
    on_gpu = augment(batch.cuda(), sampled, size=32).cpu().short()
    assert (on_gpu - augment(batch, sampled, size=32).short()).abs().max() <= 1


def test_prefetched_batches_are_not_overwritten() -> None:
    """Each batch is used long after the next one was requested, while the GPU is busy."""
    device = torch.device("cuda")
    heavy = torch.randn(4096, 4096, device=device)

    def produce() -> Any:
        for number in range(20):
            yield torch.full((2**22,), number, device=device), 0.0

    for number, (batch, _) in enumerate(prefetch_to_device(produce(), device)):
        for _ in range(5):
            heavy = torch.nn.functional.normalize(heavy @ heavy)
        assert bool((batch == number).all())
    assert number == 19
