"""The training benchmark measures what it says: one start and one set of products, settled steps, true ratios."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.paths import CACHE, DATASETS
from benchmarks.train import fclip_training, report, speed
from benchmarks.train.fclip_training import comparable_config, preset_config, run_job
from benchmarks.train.gpu import peak_flops, utilisation
from benchmarks.train.inputs import TrainingInput, write_training_input
from benchmarks.train.models import training_flops, write_base_model
from benchmarks.train.open_clip_trainer import FORMS, OpenClipTrainer, install, tune
from benchmarks.train.processes import FinishedCommand
from benchmarks.train.quality import CheckpointScore, QualityRun, measure_quality
from benchmarks.train.setup import TrainingSetup, cpu_setup, cuda_setup
from benchmarks.train.speed import FCLIP, FCLIP_UNCACHED, UPPER_BOUND, measure_training_speed, open_clip_name
from benchmarks.train.throughput import StepWindow, TrainingRun, read_log, read_timings
from benchmarks.train.upper_bound import step_seconds
from fclip.errors import UserError
from fclip.files import sha256_bytes
from fclip.images.packs import ImagePacks
from fclip.models.store import load
from fclip.training.data import read_items
from fclip.training.job import read_job, write_job
from tests.benchmarks.small_kagl import NUM
from tests.conftest import TINY

LOG = """\
2026-01-02,10:00:00 | INFO | Start epoch 0
2026-01-02,10:00:01 | INFO | Train Epoch: 0 [  8/96 (8%)] Data (t): 1.500 Batch (t): 2.000, 4.00000/s, 4.00000/s/gpu LR: 0.1
2026-01-02,10:00:02 | INFO | Train Epoch: 0 [ 48/96 (50%)] Data (t): 0.100 Batch (t): 0.500, 16.0000/s, 16.0/s/gpu LR: 0.1
2026-01-02,10:00:03 | INFO | Train Epoch: 0 [ 96/96 (100%)] Data (t): 0.000 Batch (t): 0.250, 32.0000/s, 32.0/s/gpu LR: 0.1
2026-01-02,10:00:04 | INFO | Start epoch 1
2026-01-02,10:00:05 | INFO | Train Epoch: 1 [  8/96 (8%)] Data (t): 1.000 Batch (t): 1.500, 4.00000/s, 4.00000/s/gpu LR: 0.1
"""  # noqa: E501


def tiny_setup() -> TrainingSetup:
    setup = cpu_setup(precisions=("fp32",), steps=40, epochs=1)
    return replace(setup, model_cfg=TINY, batch_size=8, steps=12, workers=(0, 1))


def run_of(seconds: float, *, wait: float = 0.0, whole: float = 60.0) -> TrainingRun:
    """Twelve steps, the first and last two of which are ten times as slow."""
    steps = [10 * seconds] * 2 + [seconds] * 8 + [10 * seconds] * 2
    windows = tuple(StepWindow(1, each, wait * each) for each in steps)
    return TrainingRun(
        batch_size=8, steps_per_epoch=12, edge_steps=2, whole_seconds=whole, windows=windows, gpu_bytes=None
    )


@pytest.fixture(scope="module")
def data(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingInput:
    return write_training_input(shop, tmp_path_factory.mktemp("data"), num_products=96, num_validation=8)


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base_model(tmp_path_factory.mktemp("base-model") / "tiny", TINY)


def test_a_log_line_is_of_all_steps_since_the_line_before() -> None:
    windows = read_log(LOG.splitlines(), 8)
    assert [window.steps for window in windows] == [1, 5, 6, 1]
    assert [window.seconds for window in windows] == pytest.approx([2.0, 2.5, 1.5, 1.5])
    assert [window.wait_seconds for window in windows] == pytest.approx([1.5, 0.5, 0.0, 1.0])


def test_timings_are_a_step_a_row(tmp_path: Path) -> None:
    path = tmp_path / "timings.csv"
    path.write_text("step,seconds,wait_seconds,samples\n1,2.5,0.5,8\n2,0.25,0,8\n")
    assert read_timings(path) == (StepWindow(1, 2.5, 0.5), StepWindow(1, 0.25, 0.0))
    path.write_text("step,seconds\n1,2.5\n")
    with pytest.raises(UserError, match="has not the columns step, seconds, wait_seconds, samples"):
        read_timings(path)
    with pytest.raises(UserError, match="leaves no timings"):
        read_timings(tmp_path / "none.csv")


def test_only_settled_steps_count() -> None:
    run = run_of(0.5, wait=0.1)
    assert run.rate == pytest.approx(16)
    assert run.wait_fraction == pytest.approx(0.1)
    assert run.whole_rate == pytest.approx(8 * 12 / 60)
    twice = replace(run, windows=run.windows * 2)
    assert len(twice.steady_windows) == 16
    wide = replace(
        run, windows=(StepWindow(1, 9, 9), StepWindow(4, 2.0, 0), StepWindow(4, 1.0, 0), StepWindow(3, 9, 9))
    )
    assert wide.steady_windows == (StepWindow(4, 1.0, 0),)
    with pytest.raises(UserError, match="8 steps an epoch find no pace: give --steps more than 16"):
        cpu_setup(precisions=("fp32",), steps=8, epochs=1)


def test_all_sides_train_on_the_same_products(data: TrainingInput) -> None:
    items = read_items(data.products, "train", {"title": 1.0})
    packs = ImagePacks([data.packs])
    with data.csv.open(newline="") as file:
        files = list(csv.DictReader(file, delimiter="\t"))
    ours = [(item.images[0], item.captions["title"][0]) for item in items]
    theirs = [(sha256_bytes(Path(row["filepath"]).read_bytes()), row["title"]) for row in files]
    assert ours == theirs
    assert len(ours) == data.num_products == 96
    assert all(sha256_bytes(packs.read(digest)) == digest for digest, _ in ours)
    sizes = json.loads((data.shards / "sizes.json").read_text())
    assert sum(sizes.values()) == 96
    assert len(sizes) >= 8
    assert len(read_items(data.products, "val", {"title": 1.0})) == 8


def test_few_products_come_again(shop: Path, tmp_path: Path) -> None:
    many = write_training_input(shop, tmp_path, num_products=NUM + 10, num_validation=2)
    items = read_items(many.products, "train", {"title": 1.0})
    assert len(items) == NUM + 10
    assert [item.images for item in items[NUM:]] == [item.images for item in items[:10]]


def test_the_start_is_the_same_each_time(base_model: Path, tmp_path: Path) -> None:
    again = write_base_model(tmp_path / "again", TINY)
    assert load(again).model_sha256 == load(base_model).model_sha256


def test_the_work_of_a_sample_is_what_the_matrices_say(tmp_path: Path) -> None:
    """Kaplan et al. 2020: six operations a weight and token, and 12 · tokens² · width a layer of attention."""
    cfg = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 4, "width": 64, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 48, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 4},
    }
    weights = 4 * 12 * 64**2  # attention's four, the perceptron's eight, a layer
    expected = sum(6 * weights * tokens + 4 * 12 * tokens**2 * 64 for tokens in (65, 48))
    expected += 4 * 64 * 64 * 192  # patches, whose own gradient nobody needs
    expected += 2 * 6 * 64 * 32  # projections
    assert training_flops(write_base_model(tmp_path / "base-model", cfg)) == pytest.approx(expected, rel=0.02)


def test_the_limit_steps_as_often_as_told(data: TrainingInput, base_model: Path, tmp_path: Path) -> None:
    config = comparable_config(tiny_setup(), "bf16")
    write_job(
        tmp_path, config=config, seed=0, base_model=base_model, products=data.products, images={"kagl": data.packs}
    )
    seconds = step_seconds(tmp_path, 3)
    assert len(seconds) == 3
    assert min(seconds) > 0


def test_a_job_is_measured_by_its_timings(
    data: TrainingInput, base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measured(command: list[str], *, cwd: Path, watch_gpu: bool) -> FinishedCommand:
        job = read_job(Path(command[-1]))
        seen.append((job.config, job.base_model.resolve(), job.products.resolve(), command[1:3], watch_gpu))
        rows = "".join(f"{step},0.5,0.125,8\n" for step in range(1, 13))
        (cwd / "timings.csv").write_text(f"step,seconds,wait_seconds,samples\n{rows}")
        return FinishedCommand(began=0.0, seconds=24.0, output="", gpu_bytes=None)

    monkeypatch.setattr(fclip_training, "run_measured", measured)
    config = comparable_config(tiny_setup(), "bf16", pixel_cache_gb=0.0)
    run = run_job(tmp_path / "job", config, data, base_model=base_model, edge_steps=2)
    assert seen == [(config, base_model, data.products, ["-m", "fclip.training"], False)]
    assert (run.rate, run.wait_fraction, run.whole_rate) == (16.0, 0.25, 4.0)
    assert not (tmp_path / "job").exists()


def test_configs_are_of_what_is_compared() -> None:
    setup = cuda_setup(precisions=("bf16",), steps=150, epochs=1, compile=True)
    config = comparable_config(setup, "bf16")
    assert (config.device, config.precision, config.compile, config.batch_size) == ("cuda", "bf16", True, 1024)
    assert (config.trainable, config.objective.positives, config.augment.flip) == ("all", "pairs", False)
    assert setup.steps > 2 * setup.edge_steps
    assert preset_config().base_model.kind == "towers"


def test_open_clip_trains_on_both_forms(data: TrainingInput, base_model: Path, tmp_path: Path) -> None:
    if not (CACHE / "open_clip_train" / ".installed").exists():
        pytest.skip(f"open_clip's training is not installed in {CACHE}: `make benchmark-train` does it")
    peer, setup = install(CACHE), tiny_setup()
    assert peer.versions()["webdataset"] < "1"
    for form in FORMS:
        run = peer.run(data, tmp_path / "log", setup, base_model=base_model, form=form, workers=1, precision="bf16")
        assert (run.steps_per_epoch, len(run.windows)) == (12, 12)
        assert replace(run, edge_steps=2).rate > 0
        assert run.whole_seconds > sum(window.seconds for window in run.windows)


def test_tuning_keeps_the_fastest(monkeypatch: pytest.MonkeyPatch, data: TrainingInput, tmp_path: Path) -> None:
    def run(peer: OpenClipTrainer, *_: object, form: str, workers: int, **__: object) -> TrainingRun:
        return run_of(1 + abs(workers - (1 if form == "csv" else 4)))

    monkeypatch.setattr(OpenClipTrainer, "run", run)
    setup = replace(tiny_setup(), steps=20, workers=(0, 1, 2, 4))
    best = tune(
        OpenClipTrainer(tmp_path),
        data,
        tmp_path,
        setup,
        base_model=tmp_path,
        precision="fp32",
        show_progress=lambda line: None,
    )
    assert best == {"csv": 1, "webdataset": 4}


def test_speed_is_compared_and_shown(monkeypatch: pytest.MonkeyPatch, data: TrainingInput, tmp_path: Path) -> None:
    def fclip(job: Path, config: object, *_: object, **__: object) -> TrainingRun:
        return run_of(0.5 if config.pixel_cache_gb else 0.6, whole=30)  # type: ignore[attr-defined]

    monkeypatch.setattr(speed, "run_job", fclip)
    monkeypatch.setattr(speed, "run_upper_bound", lambda *_, **__: run_of(0.48))
    monkeypatch.setattr(OpenClipTrainer, "run", lambda *_, form, **__: run_of(1.0 if form == "csv" else 0.75))
    lines: list[str] = []
    found = measure_training_speed(
        *(data, tmp_path, tiny_setup()),
        base_model=tmp_path,
        precision="fp32",
        rounds=2,
        peer=OpenClipTrainer(tmp_path),
        show_progress=lines.append,
    )
    assert {name: len(runs) for name, runs in found.runs.items()} == dict.fromkeys(
        [FCLIP, *map(open_clip_name, FORMS), FCLIP_UNCACHED, UPPER_BOUND], 2
    )
    assert found.ratios == pytest.approx(
        {"csv": 2.0, "csv, whole runs": 2.0, "webdataset": 1.5, "webdataset, whole runs": 2.0}
    )
    assert found.extra_time == pytest.approx({FCLIP: 0.5 / 0.48 - 1, FCLIP_UNCACHED: 0.25})
    text = shown(lambda console: report.show_speed(console, tiny_setup(), found, flops=1e9, peak=None))
    assert "csv 2.00×" in text
    assert "at most 5%: yes" in text
    on_gpu = replace(tiny_setup(), device="cuda")
    text = shown(lambda console: report.show_speed(console, on_gpu, found, flops=1e9, peak=64e9))
    assert "25.0%" in text  # 16 samples/s of 10⁹ operations
    text = shown(
        lambda console: report.show_precisions(console, "cpu", {"a": {"fp32": [run_of(1)], "bf16": [run_of(2)]}})
    )
    assert "0.50×: does not pay" in text


def test_quality_is_the_first_candidate_there() -> None:
    candidates = tuple(
        CheckpointScore(name, step, minutes, score)
        for name, step, minutes, score in (
            ("base-model", 0, 0.5, 0.1),
            ("a", 10, 2.0, 0.7),
            ("b", 20, 3.5, 0.76),
            ("c", 30, 5.0, 0.8),
        )
    )
    quality = QualityRun("F1", 0.75, 100, candidates, whole_minutes=5.25)
    assert quality.first_at_target == candidates[2]
    assert "0.75 was reached after 3.5 minutes (b); best 0.800 after 5.0 minutes" in shown(
        lambda console: report.show_quality(console, quality)
    )
    short = replace(quality, candidates=candidates[:2])
    assert short.first_at_target is None
    assert "0.75 was NOT reached in 5.2 minutes: best 0.700 after 2.0 minutes" in shown(
        lambda console: report.show_quality(console, short)
    )


def test_peaks_are_by_name() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3", "bf16") == 989e12
    assert peak_flops("NVIDIA L40S", "bf16") == 362e12
    assert peak_flops("NVIDIA A10G", "fp32") == 31.2e12
    assert peak_flops("another", "bf16") is None
    assert utilisation(1000, 1e9, 4e12) == 0.25


@pytest.mark.slow
def test_quality_is_measured_from_real_rows(tmp_path: Path) -> None:
    if not (DATASETS / "kagl").is_dir():
        pytest.skip(f"real data is absent: {DATASETS / 'kagl'} (set FCLIP_DATASETS)")
    quality = measure_quality(DATASETS, tmp_path, device="cpu", limit=700, show_progress=lambda line: None)
    assert quality.candidates[0].name == "base-model"
    minutes = [each.minutes for each in quality.candidates]
    assert minutes == sorted(minutes)
    assert 0 < minutes[0] < minutes[-1] < quality.whole_minutes
    assert quality.best.score > quality.candidates[0].score


def shown(show: Callable[[Console], None]) -> str:
    console = Console(record=True, width=160, file=io.StringIO())
    show(console)
    return console.export_text()
