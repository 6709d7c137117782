"""Complete training runs: output, learning, determinism and errors."""

import csv
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.models import store
from fclip.models.candidates import read_candidates
from fclip.models.split_tower import SplitTower
from fclip.training.__main__ import main
from fclip.training.checkpoint import ValidatedCandidate
from fclip.training.job import read_job, run_job
from fclip.training.sentinel import check_first_pass
from tests.fclip.training.training_jobs import (
    PACKS,
    make_config,
    make_job,
    make_objective,
    product_rows,
    write_products,
    write_shop,
)
from tests.packs import write_packs

NAMES = ["base-model", "step-000003", "step-000009", "step-000020"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(store.load(folder).model.state_dict())


def test_a_run_writes_candidates_and_curves(finished: Path, tiny_base_model: Path) -> None:
    listed = read_candidates(finished / "candidates.json")
    assert [each.name for each in listed] == NAMES
    assert [each.kind for each in listed] == ["base", "checkpoint", "checkpoint", "checkpoint"]
    assert [each.step for each in listed] == [0, 3, 9, 20]
    assert [each.epoch for each in listed] == [0.0, 0.6, 1.8, 4.0]
    assert [each.model_sha256 for each in listed] == [sha256_tree(finished / "candidates" / name) for name in NAMES]
    assert listed[0].model_sha256 == sha256_tree(tiny_base_model)
    assert len({each.model_sha256 for each in listed}) == 4
    history, validation = table(finished / "history.csv"), table(finished / "validation.csv")
    assert list(history[0]) == ["step", "epoch", "learning_rate", "train_loss", "grad_norm", "logit_scale", "skipped"]
    assert [int(row["step"]) for row in history] == list(range(1, 21))
    assert max(float(row["learning_rate"]) for row in history) == pytest.approx(2e-3)
    assert list(validation[0]) == ["candidate", "kind", "step", "val_loss"]
    assert [row["candidate"] for row in validation] == NAMES
    assert [row["kind"] for row in validation] == [each.kind for each in listed]
    assert [float(row["val_loss"]) for row in validation] == [each.val_loss for each in listed]
    assert [int(row["step"]) for row in validation] == [0, 3, 9, 20]
    assert sorted(path.name for path in finished.iterdir()) == [
        "candidates",
        "candidates.json",
        "history.csv",
        "validation.csv",
    ]
    assert not (finished.parent / "work").exists(), "checkpoints are deleted when the run is finished"


def test_moving_averages_are_candidates(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    out = run_job(make_job(tmp_path / "job", shop, tiny_base_model, epochs=1, num_candidates=1, ema_decay=0.9))
    listed = read_candidates(out / "candidates.json")
    assert [(each.name, each.kind, each.step) for each in listed] == [
        ("base-model", "base", 0),
        ("step-000005", "checkpoint", 5),
        ("ema-000005", "ema", 5),
    ]
    assert len({each.val_loss for each in listed}) == 3
    _, *trained = (weights(out / "candidates" / each.name)["visual.proj"] for each in listed)
    assert not torch.equal(*trained)


def test_losses_decrease(finished: Path) -> None:
    losses = [float(row["train_loss"]) for row in table(finished / "history.csv")]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    validation = [float(row["val_loss"]) for row in table(finished / "validation.csv")]
    assert min(validation[1:]) < validation[0]


def test_candidates_can_be_loaded(finished: Path) -> None:
    last = store.load(finished / "candidates" / NAMES[-1])
    features = last.model.encode_text(last.tokenize(["red", "blue"]))
    assert features.shape == (2, 32)
    assert features.isfinite().all()


def test_a_run_is_deterministic(finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    again = run_job(make_job(tmp_path / "job", shop, tiny_base_model))
    assert sha256_tree(again) == sha256_tree(finished)


def test_the_seed_changes_the_model(finished: Path, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    other = run_job(make_job(tmp_path / "job", shop, tiny_base_model, seed=1))
    assert sha256_tree(other / "candidates" / NAMES[-1]) != sha256_tree(finished / "candidates" / NAMES[-1])


def test_a_finished_job_is_not_run_again(finished: Path) -> None:
    times = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert run_job(finished.parent) == finished
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == times


def test_the_global_random_state_is_not_changed(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run_job(make_job(tmp_path / "job", shop, tiny_base_model, epochs=1))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("trainable", ["heads", "image_only", "image_tower", "all"])
def test_only_trainable_parameters_change(trainable: str, tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    out = run_job(make_job(tmp_path / "job", shop, tiny_base_model, trainable=trainable, epochs=1, num_candidates=1))
    before, after = weights(out / "candidates" / "base-model"), weights(out / "candidates" / "step-000005")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    heads = {"visual.proj", "text_projection", "logit_scale"}
    image_tower = {name for name in before if name.startswith("visual.")}
    # Word and position embeddings change only in rows that occur in the texts.
    expected = {
        "heads": heads,
        "image_only": image_tower | {"logit_scale"},
        "image_tower": heads | image_tower,
        "all": set(before),
    }
    assert changed == expected[trainable]


def test_training_overfits_one_batch(tmp_path: Path, tiny_base_model: Path) -> None:
    rows, images = product_rows({"train": 4, "val": 4})  # one colour per product

    write_packs(tmp_path / PACKS, images)
    write_products(tmp_path, rows)
    out = run_job(
        make_job(
            tmp_path / "job",
            tmp_path,
            tiny_base_model,
            batch_size=4,
            epochs=120,
            captions={"title": 1.0},
            augment=replace(make_config().augment, min_crop_area=1.0, flip=False),
            num_candidates=1,
            checkpoint_every=1000,
        )
    )
    losses = [float(row["train_loss"]) for row in table(out / "history.csv")]
    assert losses[0] > 1.0
    assert losses[-1] < 0.05


def test_divergence_names_the_learning_rate(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, learning_rate=1e30, warmup_fraction=0.0)
    with pytest.raises(UserError, match=r"reduce finetune.learning_rate \(now 1e\+30\)"):
        run_job(job)
    assert not (job / "out").exists()


@pytest.mark.parametrize("rows", [None, 4])
def test_out_of_memory_names_the_parameters(
    rows: int | None, tmp_path: Path, shop: Path, tiny_base_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    job = make_job(tmp_path / "job", shop, tiny_base_model, objective=make_objective(micro_batch_size=rows))
    with pytest.raises(UserError, match=rf"out of memory with {rows or 8} rows at once; reduce finetune\.objective"):
        run_job(job)


def test_too_few_products_for_a_batch_name_the_batch_size(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = make_job(tmp_path / "job", shop, tiny_base_model, batch_size=41)
    with pytest.raises(UserError, match=r"40 training products are fewer than one batch of 41.*batch_size"):
        run_job(job)


def test_a_missing_image_is_named(tmp_path: Path, tiny_base_model: Path) -> None:
    shop = write_shop(tmp_path / "shop")
    rows, _ = product_rows({"train": 40, "val": 12})
    rows[3]["images"] = ["f" * 64]
    write_products(shop, rows)
    with pytest.raises(UserError, match=r"f{64}"):
        run_job(make_job(tmp_path / "job", shop, tiny_base_model))


def test_a_job_folder_is_read_as_written(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    job = read_job(make_job(tmp_path / "job", shop, tiny_base_model, seed=7))
    assert job.seed == 7
    assert job.config == make_config()
    assert job.base_model.resolve() == tiny_base_model
    make_job(tmp_path / "job", shop, tiny_base_model)  # overwrites itself
    with pytest.raises(UserError, match="not a job folder"):
        read_job(tmp_path)
    (tmp_path / "job" / "base_model").unlink()
    with pytest.raises(UserError, match="base_model does not exist"):
        read_job(tmp_path / "job")


def test_split_towers_equal_the_whole_model(tiny_base_model: Path) -> None:
    clip = store.load(tiny_base_model)
    tokens = clip.tokenize(["a red dress", "a blue bag"])
    pixels = torch.randn(2, 3, 32, 32)
    names = list(clip.model.state_dict())
    texts, images = SplitTower.of_texts(clip.model), SplitTower.of_images(clip.model)
    with torch.no_grad():
        torch.testing.assert_close(texts.project(texts.pooled(tokens)), clip.model.encode_text(tokens))
        torch.testing.assert_close(images.project(images.pooled(pixels)), clip.model.encode_image(pixels))
    assert list(clip.model.state_dict()) == names


def test_the_command_needs_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "usage: python -m fclip.training" in capsys.readouterr().err


def test_a_run_that_destroys_the_base_model_stops_after_its_first_pass(
    tmp_path: Path, shop: Path, finished: Path
) -> None:
    learned = finished / "candidates" / NAMES[-1]
    job = make_job(tmp_path / "job", shop, learned, learning_rate=0.5)
    for _ in range(2):  # to run it again changes nothing
        with pytest.raises(UserError, match=r"after step 9 the validation loss is .* reduce finetune.learning_rate"):
            run_job(job)


@pytest.mark.parametrize(
    ("loss", "base", "first", "stops"),
    [
        ("clip", 5.4, 5.8, False),  # a base model that knows nothing cannot lose much
        ("clip", 3.5, 4.4, False),
        ("clip", 3.5, 4.6, True),  # half-way to guessing, log 256 = 5.55
        ("clip", 0.8, 1.5, False),
        ("clip", 0.8, 1.7, True),  # twice the loss
        ("clip", 0.1, 0.5, False),
        ("siglip", 4.5, 5.4, False),  # guessing is 6.55
        ("siglip", 4.5, 5.6, True),
    ],
)
def test_the_limit_of_the_first_pass(loss: str, base: float, first: float, stops: bool) -> None:
    config = make_config(objective=make_objective(loss=loss))
    early, later = ValidatedCandidate("checkpoint", 4, 99.0), ValidatedCandidate("checkpoint", 20, 99.0)
    validated = [ValidatedCandidate("base", 0, base), early, ValidatedCandidate("checkpoint", 9, first), later]
    check_first_pass(validated[:2], config, steps_per_epoch=5, num_rows=256, remedy="x")
    check_first_pass(validated, config, steps_per_epoch=5, num_rows=256, remedy="x")
    with pytest.raises(UserError, match="so it stops here; x") if stops else nullcontext():
        check_first_pass(validated[:3], config, steps_per_epoch=5, num_rows=256, remedy="x")
