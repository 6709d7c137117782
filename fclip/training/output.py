"""What a run leaves: candidate models, and how it went. The same run gives the same bytes."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_write, read_json, write_json
from fclip.models import store
from fclip.training.checkpoint import Row

START, UNTUNED = "start", "untuned"
HISTORY = ("step", "epoch", "learning_rate", "train_loss", "grad_norm", "logit_scale", "skipped")
CANDIDATES, CANDIDATES_LIST, HISTORY_FILE, VALIDATION_FILE = (
    "candidates",
    "candidates.json",
    "history.csv",
    "validation.csv",
)


def candidate_name(step: int, *, mean: bool = False) -> str:
    """`start` for no update, else `step-000040`, or `mean-000040` of the running mean of the weights."""
    return f"{'mean' if mean else 'step'}-{step:06d}" if step else START


def is_mean(name: str) -> bool:
    """Whether a candidate is a running mean, by its name."""
    return name.startswith("mean-")


def save_candidate(state: Mapping[str, torch.Tensor], name: str, *, start: Path, out_dir: Path) -> None:
    """Write `out_dir/candidates/<name>/`; the start itself is copied as it is, so that its digest stays."""
    target = out_dir / CANDIDATES / name
    if target.is_dir():
        return  # by the run before an interruption: whole, and the same
    try:
        with atomic_dir(target) as temporary:
            if name != START:
                store.save(state, config_from=start, out_dir=temporary)
            else:
                for file in sorted(start.rglob("*")):
                    if file.is_file():
                        copy = temporary / file.relative_to(start)
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        copy.write_bytes(file.read_bytes())
    except OSError as error:
        raise UserError(f"{target} could not be written: {error}: make room there and run it again") from error


def write_history(out_dir: Path, history: Sequence[Row], validation: Sequence[Row]) -> None:
    """Write `history.csv` (a row a step) and `validation.csv` (a row a candidate)."""
    atomic_write(out_dir / HISTORY_FILE, _csv(HISTORY, history))
    rows: list[list[str | float]] = [
        [candidate_name(int(step), mean=bool(mean)), step, loss] for step, loss, mean in validation
    ]
    atomic_write(out_dir / VALIDATION_FILE, _csv(("candidate", "step", "val_loss"), rows))


def write_candidates(out_dir: Path, validation: Sequence[Row], *, steps_per_epoch: int) -> None:
    """Write `candidates.json`: name, step, epoch (passes so far) and digest of each, in order. It is written last."""
    write_json(
        out_dir / CANDIDATES_LIST,
        [
            {
                "name": (name := candidate_name(int(step), mean=bool(mean))),
                "step": int(step),
                "epoch": epoch(int(step), steps_per_epoch),
                "model_sha256": store.model_sha256(out_dir / CANDIDATES / name),
            }
            for step, _, mean in validation
        ],
    )


def add_untuned(out_dir: Path, folder: Path) -> None:
    """Make the model folder `folder` one more candidate of a finished run, at step 0, listed after the start."""
    shutil.copytree(folder, out_dir / CANDIDATES / UNTUNED, copy_function=shutil.copyfile)
    start, *rest = read_json(out_dir / CANDIDATES_LIST)
    untuned = {"name": UNTUNED, "step": 0, "epoch": 0.0, "model_sha256": store.model_sha256(folder)}
    write_json(out_dir / CANDIDATES_LIST, [start, untuned, *rest])


def epoch(step: int, steps_per_epoch: int) -> float:
    """Passes over the data after `step` updates."""
    return round(step / steps_per_epoch, 4)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([value if isinstance(value, str) else f"{value:.7g}" for value in row] for row in rows)
    return text.getvalue()
