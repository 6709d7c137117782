"""Workspaces with a few dozen images, catalogs, captions, packs and candidates, written without running a stage."""

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from fclip.captions.table import CAPTION
from fclip.catalog.tables import IMAGES, PRODUCTS, QUARANTINE, REPAIRS
from fclip.files import sha256_bytes, write_json
from fclip.images.packs import StoredImage
from fclip.models import candidates
from fclip.models.digests import model_sha256
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from fclip.models.store import write_weights
from tasks.average import average
from tasks.workspace.paths import Workspace
from tests.packs import write_packs

CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}
PREPROCESS = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
COLOURS = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}


def tiny_clip(folder: Path, *, seed: int = 0, broken: bool = False) -> Path:
    """Save a CLIP model with one thin layer per tower. `broken`: its image features are not finite."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CONFIG)
    if broken:
        with torch.no_grad():
            model.visual.proj[0, 0] = torch.nan
    write_weights(model, folder)
    write_config(CONFIG, PREPROCESS, folder)
    return folder


def picture(colour: tuple[int, int, int], seed: int) -> StoredImage:
    """A 40 × 44 image of one colour with noise."""
    noise = np.random.default_rng(seed).integers(-25, 26, (6, 6, 3))
    image = Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)).resize((40, 44))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return StoredImage(sha256_bytes(buffer.getvalue()), buffer.getvalue(), 40, 44)


def write_dataset(workspace: Workspace, name: str, splits: Mapping[str, int]) -> None:
    """Write catalog, packs and captions of `splits` (split -> number of products).

    Every fifth product has two images, every seventh has no `colour`, every eleventh has no title. Two products share
    each title.
    """
    rows, captions, images = [], [], []
    split_of_product = [split for split, number in splits.items() for _ in range(number)]
    for index, split in enumerate(split_of_product):
        colour = list(COLOURS)[index % len(COLOURS)]
        seed = sum(name.encode()) * 1000 + index
        product_images = [picture(COLOURS[colour], seed)] + (
            [picture(COLOURS[colour], seed + 500)] if index % 5 == 0 else []
        )
        images += product_images
        product_id = f"{name}-{index:03d}"
        rows.append(
            {
                "product_id": product_id,
                "group_id": product_id,
                "split": split,
                "attributes": [] if index % 7 == 3 else [("colour", colour)],
                "texts": [("title", f"{colour} number {index // 2}")],
                "images": [image.sha256 for image in product_images],
            }
        )
        kinds = ["short"] if index % 11 == 5 else ["title", "short"]
        texts = {"title": f"picture number {index // 2}", "short": colour}
        captions.append(
            {
                "product_id": product_id,
                "split": split,
                "captions": [
                    {"kind": kind, "text": texts[kind], "num_tokens": 5, "truncated": False} for kind in kinds
                ],
            }
        )
    workspace.catalog(name).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), workspace.catalog(name) / "products.parquet")
    schema = pa.schema([("product_id", pa.string()), ("split", pa.string()), ("captions", pa.list_(CAPTION))])
    workspace.captions(name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(captions, schema=schema), workspace.captions(name))
    write_packs(workspace.images(name), images)
    write_ingest(workspace, name, rows, images)


def write_ingest(
    workspace: Workspace, name: str, rows: Sequence[Mapping[str, Any]], images: Sequence[StoredImage]
) -> None:
    """Write the other outputs of an ingest: image facts, three quarantined rows and one repair."""
    folder = workspace.catalog(name)
    facts = {
        **dict.fromkeys(("source_width", "width"), 40),
        **dict.fromkeys(("source_height", "height"), 44),
        "num_bytes": 2048,
        "brightness": 0.32,
        "contrast": 0.13,
        "saturation": 0.71,
        "white_border": 0.0,
        "phash": 0,
    }
    table = [{**facts, "image_sha256": digest} for digest in sorted({image.sha256 for image in images})]
    pq.write_table(pa.Table.from_pylist(table, schema=IMAGES), folder / "images.parquet")
    refused = [
        {"source_row": row, "product_id": f"{name}-bad-{row}", "stage": stage, "reason": reason, "detail": detail,
         "row": "{}"}
        for row, stage, reason, detail in (
            (900, "decode", "truncated image", "ends after 9 bytes"),
            (901, "decode", "truncated image", "ends after 12 bytes"),
            (902, "validate", "no image", ""),
        )
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(refused, schema=QUARANTINE), folder / "quarantine.parquet")
    repair = {"product_id": rows[0]["product_id"], "field": "title", "what": "mojibake", "before": "cafÃ©",
              "after": "café"}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([repair], schema=REPAIRS), folder / "repairs.parquet")
    write_json(
        folder / "ingest.json",
        {
            "dataset": name,
            "num_rows": len(rows) + len(refused),
            "num_products": len(rows),
            "num_images": len(table),
            "num_refused": len(refused),
            "refused_by_reason": {"no image": 1, "truncated image": 2},
            "repaired": {"mojibake in title": 1},
            "splits": dict(Counter(row["split"] for row in rows)),
        },
    )


def write_candidates(workspace: Workspace, *, broken: bool = False) -> None:
    """Write the base model and two checkpoints with different weights. `broken`: also one with nonfinite features."""
    written = []
    losses = ["candidate,kind,step,val_loss"]
    for number, step in enumerate([0, 10, 20, 30] if broken else [0, 10, 20]):
        name = f"step-{step:06d}" if step else "base-model"
        folder = tiny_clip(workspace.finetune / "candidates" / name, seed=number, broken=step == 30)
        loss = None if step == 30 else 4.0 - number
        kind = "checkpoint" if step else "base"
        written.append(candidates.Candidate(name, kind, step, number, model_sha256(folder), val_loss=loss))
        losses.append(f"{name},{kind},{step},{'nan' if loss is None else loss}")
    candidates.write_candidates(workspace.finetune / "candidates.json", written)
    (workspace.finetune / "validation.csv").write_text("\n".join(losses) + "\n")
    average(workspace)


def make_shop(root: Path) -> Workspace:
    """A workspace with params, the in-domain dataset `studio`, the out-of-domain `street`, and three candidates."""
    workspace = Workspace(root)
    classification = {
        "kind": "zero-shot",
        "label": "colour",
        "templates": ["a photo of a {}", "{}"],
        "wordings": {"grey": "gray"},
        "pool": "mean",
    }
    params = {
        "base": {"workspace": "shop", "registered_model": "fclip-shop", "seed": 0},
        "ingest": {
            "datasets": {
                "studio": {
                    "source": {"kind": "sample", "domain": "studio", "num_products": 66, "seed": 0},
                    "split": {"train": 0.5, "val": 0.3, "test": 0.2},
                    "roles": {"train": "train", "val": "select", "test": "report"},
                },
                "street": {
                    "source": {"kind": "sample", "domain": "street", "num_products": 28, "seed": 0},
                    "split": {"val": 0.6, "test": 0.4},
                    "roles": {"val": "select", "test": "report"},
                },
            }
        },
        "caption": {"datasets": {"studio": {"head": "colour"}}},
        "evaluate": {
            "settings": {"device": "cpu", "batch_size": 8, "resamples": 50, "confidence": 0.9},
            "min_slice": 5,
            "datasets": {
                "studio": {
                    "primary": "classification.acc1",
                    "max_items": 20,
                    "slices": ["colour"],
                    "protocols": {
                        "classification": classification,
                        "retrieval": {"kind": "retrieval", "caption": "title"},
                    },
                },
                "street": {
                    "primary": "classification.acc1",
                    "max_items": None,
                    "slices": [],
                    "protocols": {"classification": classification},
                },
            },
        },
        "average": {"methods": []},
        "select": {"rule": "mean_normalised_gain", "in_domain_tolerance": 1.0, "tie_confidence": None},
        "audit": {},
        "embed": {"device": "cpu", "batch_size": 8, "text": "title"},
    }
    root.mkdir(parents=True, exist_ok=True)
    workspace.params.write_text(yaml.safe_dump(params))
    write_dataset(workspace, "studio", {"train": 30, "val": 24, "test": 12})
    write_dataset(workspace, "street", {"val": 16, "test": 12})
    write_candidates(workspace)
    write_json(workspace.champion_pin, {})
    return workspace
