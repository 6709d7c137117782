"""What each stage did, in a few words, from what it left in the workspace."""

import csv
from pathlib import Path

import pyarrow.parquet as pq

from fclip.files import read_json
from tasks.paths import Workspace


def describe_stage(workspace: Workspace, stage: str) -> str:
    """A line on the outputs of `stage` (`ingest@studio`) as they are now."""
    kind, _, dataset = stage.partition("@")
    match kind:
        case "ingest":
            return _ingest(workspace.catalog(dataset) / "ingest.json")
        case "caption":
            return f"{pq.read_metadata(workspace.captions(dataset)).num_rows:,} products' captions"
        case "gather":
            return f"{pq.read_metadata(workspace.training / 'products.parquet').num_rows:,} products that train"
        case "finetune":
            return _finetune(workspace.finetune / "validation.csv")
        case "average":
            return _average(workspace.averages / "candidates.json")
        case "evaluate":
            metrics = pq.read_table(workspace.evaluation(dataset), columns=["candidate"])["candidate"]
            return f"{len(metrics.unique())} models"
        case "select":
            selection = read_json(workspace.selection)
            return f"{selection['winner']}: {selection['reason']}"
        case "embed":
            manifest = read_json(workspace.embeddings / "manifest.json")
            return f"{manifest['num_products']:,} products by model {manifest['model_sha256'][:12]}"
    return ""


def _ingest(path: Path) -> str:
    counts = read_json(path)
    splits = ", ".join(f"{split} {number:,}" for split, number in counts["splits"].items() if number)
    return f"{counts['num_products']:,} products ({splits}), {counts['num_refused']:,} rows refused"


def _average(path: Path) -> str:
    listed = read_json(path)
    averages = [entry for entry in listed if "parts" in entry]
    soup = next((f", a soup of {len(entry['parts'])}" for entry in averages if entry["name"] == "soup"), "")
    return f"{len(listed)} candidates, {len(averages)} of them averages{soup}"


def _finetune(path: Path) -> str:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["val_loss"]) for row in rows]
    return f"{len(rows) - 1} candidates in {rows[-1]['step']} steps; validation loss {losses[0]:.3f} → {losses[-1]:.3f}"
