"""What is trained and how: the same for every contender."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import open_clip

from fclip.errors import UserError

Precision: TypeAlias = Literal["fp32", "bf16"]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

PREFETCHED = 2  # batches that a worker of torch's DataLoader has ready

LEARNING_RATE = 5e-4
WEIGHT_DECAY = 0.05
BETAS = (0.9, 0.98)
EPS = 1e-8  # torch's default for AdamW, which fclip takes
GRAD_NORM = 1.0
WARMUP_FRACTION = 0.1
MIN_CROP_AREA = 0.6

SMALL_VIT: dict[str, Any] = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "width": 256, "head_width": 64, "layers": 6},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 4},
}
"""5.0 million parameters in the image tower, 7.1 in the text tower (6.3 of them are the vocabulary)."""


@dataclass(frozen=True)
class TrainingSetup:
    """A model, and how much of it is trained.

    Attributes:
        model: its name, for people; `model_cfg`: as open_clip has it.
        device: "cpu" or "cuda".
        precisions: each is measured: "fp32", "bf16" (autocast).
        steps: of an epoch.
        log_every: steps between open_clip's log lines, by which its time is known. On a GPU each line waits for it.
        workers: numbers of data workers that open_clip is tried with.
        compile: whether both sides use torch.compile.
    """

    model: str
    model_cfg: Mapping[str, Any]
    device: str
    precisions: tuple[Precision, ...]
    batch_size: int
    steps: int
    epochs: int
    log_every: int
    workers: tuple[int, ...]
    compile: bool

    def __post_init__(self) -> None:
        if self.steps <= 2 * self.edge_steps:
            raise UserError(f"{self.steps} steps an epoch find no pace: give --steps more than {2 * self.edge_steps}")

    @property
    def num_products(self) -> int:
        """Products of an epoch: whole batches."""
        return self.batch_size * self.steps

    @property
    def edge_steps(self) -> int:
        """Steps that say nothing, at both ends of an epoch: as many as batches wait in a loader's queues at most."""
        return PREFETCHED * max(self.workers)


def cpu_setup(
    *, precisions: tuple[Precision, ...], steps: int, epochs: int, workers: tuple[int, ...] | None = None
) -> TrainingSetup:
    """A small ViT on the CPU, batches of 256."""
    return TrainingSetup(
        model="ViT of 6 layers, 64 px",
        model_cfg=SMALL_VIT,
        device="cpu",
        precisions=precisions,
        batch_size=256,
        steps=steps,
        epochs=epochs,
        log_every=1,
        workers=workers or (0, 1, 2, 4),
        compile=False,
    )


def cuda_setup(
    *,
    precisions: tuple[Precision, ...],
    steps: int,
    epochs: int,
    compile: bool,
    workers: tuple[int, ...] | None = None,
) -> TrainingSetup:
    """CLIP's ViT-B/32 on one GPU, batches of 1,024."""
    return TrainingSetup(
        model="ViT-B/32, 224 px",
        model_cfg=open_clip.get_model_config("ViT-B-32"),
        device="cuda",
        precisions=precisions,
        batch_size=1024,
        steps=steps,
        epochs=epochs,
        log_every=5,
        workers=workers or tuple(sorted({max(1, CORES // 2), max(1, CORES - 2), CORES})),
        compile=compile,
    )
