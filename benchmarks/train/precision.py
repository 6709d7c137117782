"""Which precision pays here: the base model `towers`, its image tower tuned, in fp32 and under bf16 autocast."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.train.fclip_training import NO_CHECKPOINT, preset_config, run_job
from benchmarks.train.inputs import write_training_input
from benchmarks.train.setup import Precision
from benchmarks.train.throughput import TrainingRun
from fclip.base_models.towers import TowersConfig, compose

PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
STEPS, SETTLING = 16, 4


def measure_towers(
    datasets: Path, folder: Path, *, device: str, rounds: int, show_progress: Callable[[str], None]
) -> dict[Precision, tuple[TrainingRun, ...]]:
    """Runs of `STEPS` steps in each precision, in turn, with the rest of params as in params/kagl.yaml."""
    config = replace(
        preset_config(),
        device=device,
        processes=1,
        epochs=1,
        num_candidates=1,
        checkpoint_every=NO_CHECKPOINT,
        captions={"title": 1.0},
    )
    assert isinstance(config.base_model, TowersConfig)
    base_model = folder / "towers"
    base_model.mkdir(parents=True)
    compose(config.base_model, base_model)
    data = write_training_input(
        datasets, folder / "data", num_products=config.batch_size * STEPS, num_validation=config.batch_size
    )
    runs: dict[Precision, list[TrainingRun]] = {precision: [] for precision in PRECISIONS}
    for number in range(rounds):
        for precision, found in runs.items():
            own = replace(config, precision=precision)
            found.append(run_job(folder / "job", own, data, base_model=base_model, edge_steps=SETTLING))
            show_progress(f"towers, {precision}, round {number + 1} of {rounds}: {found[-1].rate:.1f} samples/s")
    return {precision: tuple(found) for precision, found in runs.items()}
