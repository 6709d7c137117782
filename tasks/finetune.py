"""Stage `finetune`: the pinned base model -> candidates, by contrastive fine-tuning on the training datasets.

    python -m tasks.finetune

Reads pins/base_model.json and data/training; writes models/finetune and, in .fclip/timings, the durations of its steps.
With a warm start, the original base model is also a candidate. An interrupted run resumes from cache/training/<key>;
the key is a digest of everything that the result depends on.
"""

import logging
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import torch

import fclip
from fclip.errors import UserError
from fclip.files import atomic_dir, link_or_copy, sha256_file, sha256_json
from fclip.models.device import resolve_device
from fclip.training.config import DistillationConfig, FinetuneConfig, to_json
from fclip.training.job import TIMINGS, run_job, write_job
from fclip.training.output import add_original_base_model
from fclip.training.seen_rows import mark_seen_rows
from fclip.training.stop import Interrupted, stop_on_signals
from tasks.base_model import find_base_model, find_original_base_model, find_trained_rows
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import Preempted, run_stage

logger = logging.getLogger(__name__)

MARKED = "marked.parquet"
"""The products, marked if the base model was trained on them."""


def finetune(workspace: Workspace) -> Path:
    """Fine-tune the pinned base model and return the folder of candidates.

    Raises:
        UserError: the base model is not pinned, products are missing or too few, or the loss is not finite.
        Preempted: stopped by a signal; a new run resumes.
    """
    config = load_section(workspace, "finetune", FinetuneConfig)
    seed = load_section(workspace, "base", Base).seed
    products = workspace.training / "products.parquet"
    if not products.is_file():
        raise UserError(f"{products} does not exist; run `dvc pull` or `dvc repro gather`")
    try:
        with stop_on_signals() as stop:
            base_model = find_base_model(workspace)
            rows = find_trained_rows(workspace) if config.replay else None
            job = workspace.training_cache / _key(config, seed, base_model, products, rows)
            if job.exists():
                logger.info("Resuming from %s", job.relative_to(workspace.root))
            if rows:
                mark_seen_rows(products, rows, job / MARKED)
                products = job / MARKED
            elif config.replay:
                logger.warning("The training rows of the base model are unknown; all products count as new")
            datasets = sorted(set(pq.read_table(products, columns=["dataset"])["dataset"].to_pylist()))
            images = {name: workspace.images(name) for name in datasets}
            teacher = None if config.distillation is None else find_teacher(workspace, config.distillation)
            write_job(
                job,
                config=config,
                seed=seed,
                base_model=base_model,
                products=products,
                images=images,
                pixels=workspace.pixel_cache,
                teacher=teacher,
            )
            out = run_job(job, stop=stop)
    except Interrupted as error:
        raise Preempted(str(error)) from error
    with atomic_dir(workspace.finetune) as temporary:
        shutil.copytree(out, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
        if original := find_original_base_model(workspace):
            add_original_base_model(temporary, original)
    shutil.rmtree(workspace.timings, ignore_errors=True)  # timings of earlier runs
    if (timings := job / TIMINGS).is_file():
        workspace.timings.mkdir(parents=True)
        timings.replace(workspace.step_timings(sha256_file(workspace.finetune / "candidates.json")))
    shutil.rmtree(job)
    return workspace.finetune


def find_teacher(workspace: Workspace, config: DistillationConfig) -> Path:
    """Return the teacher's embeddings; raises UserError if the file is missing or another one than params.yaml says."""
    path = workspace.root / config.teacher
    if not path.is_file():
        raise UserError(
            f"the teacher's embeddings {path} do not exist; put the file there again, or run `fclip distil FILE`"
        )
    if (found := sha256_file(path)) != config.sha256:
        raise UserError(
            f"{path} has changed: its SHA-256 is {found}, not finetune.distillation.sha256; run `fclip distil {path}`"
        )
    return path


def _key(config: FinetuneConfig, seed: int, base_model: Path, products: Path, rows: Path | None) -> str:
    """Digest of everything that the result depends on: params, inputs, code, PyTorch version and device."""
    library = Path(fclip.__file__).parent
    modules = [path for package in ("images", "models", "training") for path in (library / package).glob("*.py")]
    return sha256_json(
        {
            "config": to_json(config),
            "seed": seed,
            "base_model": base_model.name,  # the digest of the model
            "products": sha256_file(products),
            "rows": sha256_file(rows) if rows else None,
            "code": {module.relative_to(library).as_posix(): sha256_file(module) for module in sorted(modules)},
            "torch": torch.__version__,
            "device": resolve_device(config.device).type,
        }
    )


if __name__ == "__main__":
    run_stage("finetune", finetune)
