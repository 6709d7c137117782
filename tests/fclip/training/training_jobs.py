"""Jobs that train in a second: a tiny CLIP, a few dozen plain pictures and two kinds of captions."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.base_models.local import LocalConfig
from fclip.training.config import AugmentConfig, FinetuneConfig, ObjectiveConfig, RegularizationConfig
from fclip.training.job import write_job
from tests.packs import write_packs
from tests.tiny_shop import COLOURS, picture

SPLITS = {"train": 40, "val": 12, "test": 4}
PACKS = "packs"


def make_objective(**changes: Any) -> ObjectiveConfig:
    """Return the CLIP objective without micro-batches."""
    values = {"loss": "clip", "positives": "pairs", "fields": None, "hard_negatives": 0.0, "micro_batch_size": None}
    return ObjectiveConfig(**{**values, **changes})


def make_config(**changes: Any) -> FinetuneConfig:
    """Return a config of four passes of five batches, with candidates after steps 3, 9 and 20."""
    values: dict[str, Any] = {
        "base_model": LocalConfig(kind="local", path="base-model"),
        "replay": None,
        "device": "cpu",
        "processes": "auto",
        "precision": "fp32",
        "compile": False,
        "gradient_checkpointing": False,
        "trainable": "all",
        "last_layers": None,
        "layer_decay": 1.0,
        "lora_rank": None,
        "ema_decay": None,
        "heads_first": None,
        "regularization": RegularizationConfig(weights=0.0, similarities=0.0),
        "distillation": None,
        "objective": make_objective(),
        "epochs": 4,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "warmup_fraction": 0.1,
        "weight_decay": 0.05,
        "betas": (0.9, 0.98),
        "clip_grad_norm": 1.0,
        "max_logit_scale": 100.0,
        "max_skipped_steps": 2,
        "num_candidates": 3,
        "checkpoint_every": 3,
        "pixel_cache_gb": 1.0,
        "captions": {"title": 1.0, "short": 1.0},
        "augment": AugmentConfig(
            min_crop_area=0.6,
            flip=True,
            colour_jitter=0.0,
            greyscale=0.0,
            background=0.0,
            thumbnail=0.0,
            invert=0.0,
        ),
    }
    return FinetuneConfig(**{**values, **changes})


def product_rows(splits: dict[str, int]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return rows of the training table and their images. Every fifth product has two images."""
    rows, images = [], []
    splits_of_rows = [split for split, number in splits.items() for _ in range(number)]
    for number, split in enumerate(splits_of_rows):
        colour = list(COLOURS)[number % len(COLOURS)]
        product_images = [picture(COLOURS[colour], number)]
        if number % 5 == 0:
            product_images.append(picture(COLOURS[colour], number + 1000))
        images += product_images
        rows.append(
            {
                "dataset": "shop",
                "product_id": f"p{number:03d}",
                "split": split,
                "images": [image.sha256 for image in product_images],
                "captions": [caption("title", f"{colour} number {number}"), caption("short", colour)],
                "category": colour,
            }
        )
    return rows, images


def caption(kind: str, text: str) -> dict[str, Any]:
    return {"kind": kind, "text": text, "num_tokens": 5, "truncated": False}


def write_products(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "products.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def write_shop(folder: Path) -> Path:
    """Write `products.parquet` and image packs to `folder`."""
    rows, images = product_rows(SPLITS)
    folder.mkdir(parents=True, exist_ok=True)
    write_packs(folder / PACKS, images)
    write_products(folder, rows)
    return folder


def make_job(
    folder: Path, shop: Path, base_model: Path, *, seed: int = 0, teacher: Path | None = None, **changes: Any
) -> Path:
    write_job(
        folder,
        config=make_config(**changes),
        seed=seed,
        base_model=base_model,
        products=shop / "products.parquet",
        images={"shop": shop / PACKS},
        teacher=teacher,
    )
    return folder
