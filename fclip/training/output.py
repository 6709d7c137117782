"""The result of a run: candidates, their list, and the training curves. Identical runs give identical bytes."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_write
from fclip.models import store
from fclip.models.candidates import BASE_MODEL, ORIGINAL_BASE_MODEL, Candidate, read_candidates, write_candidates
from fclip.models.digests import model_sha256
from fclip.training.checkpoint import Row, ValidatedCandidate

HISTORY_COLUMNS = ("step", "epoch", "learning_rate", "train_loss", "grad_norm", "logit_scale", "skipped")
VALIDATION_COLUMNS = ("candidate", "kind", "step", "val_loss")
CANDIDATES, CANDIDATES_LIST, HISTORY_FILE, VALIDATION_FILE = (
    "candidates",
    "candidates.json",
    "history.csv",
    "validation.csv",
)


def candidate_name(kind: str, step: int) -> str:
    """Return the name of a candidate: `base-model`, or after 40 steps `step-000040` (checkpoint) or `ema-000040`."""
    return {"base": BASE_MODEL, "checkpoint": f"step-{step:06d}", "ema": f"ema-{step:06d}"}[kind]


def save_candidate(state: Mapping[str, torch.Tensor], kind: str, step: int, *, base_model: Path, out_dir: Path) -> None:
    """Write `out_dir/candidates/<name>/`. The base model is copied file by file, so that its digest does not change."""
    target = out_dir / CANDIDATES / candidate_name(kind, step)
    if target.is_dir():
        return  # written before an interruption; the content is the same
    try:
        with atomic_dir(target) as temporary:
            if kind != "base":
                store.save(state, config_from=base_model, out_dir=temporary)
            else:
                for file in sorted(base_model.rglob("*")):
                    if file.is_file():
                        copy = temporary / file.relative_to(base_model)
                        copy.parent.mkdir(parents=True, exist_ok=True)
                        copy.write_bytes(file.read_bytes())
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error}); free disk space and run the command again") from error


def write_result(
    out_dir: Path, history: Sequence[Row], validated: Sequence[ValidatedCandidate], *, steps_per_epoch: int
) -> None:
    """Write `history.csv` (one row per step), `validation.csv` (one per candidate) and finally `candidates.json`."""
    atomic_write(out_dir / HISTORY_FILE, _csv(HISTORY_COLUMNS, history))
    named = [(candidate_name(entry.kind, entry.step), entry) for entry in validated]
    rows = [(name, entry.kind, entry.step, entry.loss) for name, entry in named]
    atomic_write(out_dir / VALIDATION_FILE, _csv(VALIDATION_COLUMNS, rows))
    candidates = [
        Candidate(
            name=name,
            kind=entry.kind,
            step=entry.step,
            epoch=epochs_done(entry.step, steps_per_epoch),
            model_sha256=model_sha256(out_dir / CANDIDATES / name),
            val_loss=float(_format(entry.loss)),
        )
        for name, entry in named
    ]
    write_candidates(out_dir / CANDIDATES_LIST, candidates)


def add_original_base_model(out_dir: Path, folder: Path) -> None:
    """Add the model in `folder` to the candidates of a finished run, at step 0, listed after the base model."""
    shutil.copytree(folder, out_dir / CANDIDATES / ORIGINAL_BASE_MODEL, copy_function=shutil.copyfile)
    base, *rest = read_candidates(out_dir / CANDIDATES_LIST)
    original = Candidate(
        name=ORIGINAL_BASE_MODEL, kind="original-base-model", step=0, epoch=0.0, model_sha256=model_sha256(folder)
    )
    write_candidates(out_dir / CANDIDATES_LIST, [base, original, *rest])


def epochs_done(step: int, steps_per_epoch: int) -> float:
    """Return the number of passes over the data after `step` steps."""
    return round(step / steps_per_epoch, 4)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([value if isinstance(value, str) else _format(value) for value in row] for row in rows)
    return text.getvalue()


def _format(value: float) -> str:
    return f"{value:.7g}"
