"""Minutes of training from `towers` to a given zero-shot score on kagl's article types."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paths import PRESET
from benchmarks.train.fclip_training import preset_config
from benchmarks.train.processes import run_measured
from benchmarks.workspaces import lay_out_workspace
from fclip.files import read_json
from fclip.models.folder import WEIGHTS
from fclip.training.job import write_job
from tasks.base_model import find_base_model
from tasks.evaluate import evaluate_on
from tasks.workspace.params import read_params

DATASET, SPLIT = "kagl", "test"
TARGET = 0.75
NUM_CANDIDATES = 18  # one a minute or so, where three passes take twenty


@dataclass(frozen=True)
class CheckpointScore:
    """A model of the run: steps done, minutes from the process's start to its weights on disk, and its score."""

    name: str
    step: int
    minutes: float
    score: float


@dataclass(frozen=True)
class QualityRun:
    """A whole run from `towers`, as in params/kagl.yaml but for more candidates.

    Attributes:
        metric: what the scores are, on the split that only reports.
        candidates: the base model first.
        whole_minutes: of the process.
    """

    metric: str
    target: float
    num_items: int
    candidates: tuple[CheckpointScore, ...]
    whole_minutes: float

    @property
    def first_at_target(self) -> CheckpointScore | None:
        """The first candidate that has the target."""
        return next((each for each in self.candidates if each.score >= self.target), None)

    @property
    def best(self) -> CheckpointScore:
        return max(self.candidates, key=lambda each: each.score)


def measure_quality(
    datasets: Path, folder: Path, *, device: str, limit: int | None, show_progress: Callable[[str], None]
) -> QualityRun:
    """Ingest and caption kagl (`limit` rows of it; None for all), train in a process of its own, then evaluate.

    What comes before training takes no part of the minutes; start-up, decoding, encoding captions, validating and
    saving candidates do.
    """
    workspace = lay_out_workspace(folder / "workspace", datasets, [DATASET], limit=limit, device=device)
    show_progress(f"{DATASET} is ingested and captioned; training")
    job = folder / "job"
    write_job(
        job,
        config=replace(preset_config(), device=device, processes=1, num_candidates=NUM_CANDIDATES),
        seed=read_params(PRESET)["base"]["seed"],
        base_model=find_base_model(workspace),
        products=workspace.training / "products.parquet",
        images={DATASET: workspace.images(DATASET)},
    )
    done = run_measured([sys.executable, "-m", "fclip.training", str(job)], cwd=job, watch_gpu=False)
    show_progress(f"trained in {done.seconds / 60:.1f} minutes; evaluating")
    folders = {each["name"]: job / "out" / "candidates" / each["name"] for each in _candidates(job)}
    evaluation = evaluate_on(workspace, folders, DATASET, roles=("report",))
    scores = {name: evaluation.primary_score(name, SPLIT) for name in folders}
    return QualityRun(
        metric=f"zero-shot {evaluation.primary} of {DATASET}'s split {SPLIT}",
        target=TARGET,
        num_items=next(iter(scores.values())).num_items,
        candidates=tuple(
            CheckpointScore(
                each["name"],
                each["step"],
                ((folders[each["name"]] / WEIGHTS).stat().st_mtime - done.began) / 60,
                scores[each["name"]].estimate.value,
            )
            for each in _candidates(job)
        ),
        whole_minutes=done.seconds / 60,
    )


def _candidates(job: Path) -> list[dict[str, Any]]:
    return list(read_json(job / "out" / "candidates.json"))
