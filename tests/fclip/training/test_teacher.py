"""Distillation: the teacher's file, its embeddings in the base model's space, and what training learns from them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fclip.errors import UserError
from fclip.features.encode import encode_images
from fclip.files import sha256_tree
from fclip.images.packs import ImagePacks
from fclip.images.pixels import decode
from fclip.models import store
from fclip.training.config import DistillationConfig, HeadsFirstConfig
from fclip.training.data import read_items
from fclip.training.job import read_job, run_job
from fclip.training.objectives import unit
from fclip.training.processes import World
from fclip.training.stop import Interrupted
from fclip.training.teacher import move_to_base, read_teacher, regression_loss
from tests.fclip.training.training_jobs import PACKS, make_job, make_objective


def write_teacher(path: Path, ids: list[str], embeddings: object) -> Path:
    pq.write_table(pa.table({"id": ids, "embedding": pa.array(embeddings)}), path)
    return path


@given(seed=st.integers(0, 99), wider=st.integers(0, 3), missing=st.integers(0, 3))
def test_a_rotated_copy_of_the_base_model_is_moved_back(seed: int, wider: int, missing: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    base = unit(torch.randn(20, 5, generator=draw) + 1)
    rotation = torch.linalg.qr(torch.randn(5 + wider, 5, generator=draw)).Q
    teacher = base @ rotation.T * 3 + 0.1
    teacher[:missing] = float("nan")
    moved = move_to_base(teacher, base)
    assert moved[:missing].isnan().all()
    torch.testing.assert_close(moved[missing:], base[missing:], rtol=1e-4, atol=1e-4)


def test_a_narrower_teacher_keeps_its_similarities_to_a_scale() -> None:
    draw = torch.Generator().manual_seed(0)
    teacher, base = unit(torch.randn(30, 3, generator=draw)), unit(torch.randn(30, 8, generator=draw))
    moved = move_to_base(teacher, base)
    assert moved.shape == (30, 8)
    torch.testing.assert_close(moved.norm(dim=1), torch.ones(30))
    assert int(torch.linalg.matrix_rank(moved - moved.mean(0), rtol=1e-3)) <= 4


def test_the_regression_loss_is_the_mean_over_known_rows() -> None:
    images, targets = unit(torch.randn(4, 3)), unit(torch.randn(4, 3))
    targets[1] = float("nan")
    expected = sum(1 - float(images[row] @ targets[row]) for row in (0, 2, 3)) / 3
    assert float(regression_loss(images, targets, World().mean)) == pytest.approx(expected, rel=1e-5)
    assert float(regression_loss(images, torch.full((4, 3), float("nan")), World().mean)) == 0


def test_embeddings_are_read_by_id_in_any_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_teacher(tmp_path / "teacher.parquet", ["b", "x", "a"], [[0.0, 2.0], [1.0, 1.0], [3.0, 0.0]])
    with caplog.at_level("WARNING"):
        found = read_teacher(path, ["a", "missing", "b"])
    np.testing.assert_array_equal(found.numpy(), [[1, 0], [np.nan, np.nan], [0, 1]])
    assert "no embedding of 1 of 3 training products" in caplog.text


@pytest.mark.parametrize(
    ("ids", "embeddings", "expected"),
    [
        (["a", "a"], [[1.0], [1.0]], "the id a occurs more than once"),
        (["a", "b"], [[1.0], [1.0, 2.0]], "embeddings must be of one length, but have 1, 2"),
        (["a", "b"], [[1.0], None], "of one length"),
        (["a", "b"], [[1.0], [float("nan")]], "finite and not zero"),
        (["a", "b"], [[1.0], [0.0]], "finite and not zero"),
        (["a", "b"], [1.0, 2.0], "lists of numbers, not double"),
        (["a", "b"], [["1"], ["2"]], "lists of numbers"),
        (["other", "b"], [[1.0], [1.0]], "1 of 2 training products have an embedding; its first id is other"),
        ([], pa.array([], pa.list_(pa.float32(), 2)), "has no rows"),
    ],
)
def test_an_unusable_teacher_is_one_error(tmp_path: Path, ids: list[str], embeddings: object, expected: str) -> None:
    path = write_teacher(tmp_path / "teacher.parquet", ids, embeddings)
    with pytest.raises(UserError, match=expected):
        read_teacher(path, ["a", "b"])


def test_other_files_and_repeated_product_ids_are_errors(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("id,embedding\n")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "ids.parquet")
    for name in ("absent.parquet", "text.parquet", "ids.parquet"):
        with pytest.raises(UserError, match="not a Parquet file with the columns id and embedding"):
            read_teacher(tmp_path / name, ["a", "b"])
    path = write_teacher(tmp_path / "teacher.parquet", ["a", "b"], [[1.0], [1.0]])
    with pytest.raises(UserError, match="1 training products share their id"):
        read_teacher(path, ["a", "a", "b"])


def test_training_moves_image_features_towards_the_teacher(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    items = read_items(shop / "products.parquet", "train", frozenset({"title"}))
    base = store.load(tiny_base_model)
    packs = ImagePacks([shop / PACKS])
    pixels = np.stack([decode(packs.read(item.images[0]), base.preprocess) for item in items])

    def features(folder: Path) -> torch.Tensor:
        return unit(torch.from_numpy(encode_images(store.load(folder), pixels)))

    draw = torch.Generator().manual_seed(0)
    embeddings = torch.randn(len(items), 64, generator=draw)
    teacher = write_teacher(tmp_path / "teacher.parquet", [each.product_id for each in items], embeddings.tolist())
    targets = move_to_base(unit(embeddings), features(tiny_base_model))
    losses = []
    for number, weight in enumerate((None, 20.0)):
        distillation = weight and DistillationConfig(teacher="teacher.parquet", sha256="", weight=weight)
        job = make_job(
            tmp_path / str(number),
            shop,
            tiny_base_model,
            num_candidates=1,
            distillation=distillation,
            teacher=teacher if weight else None,
        )
        trained = run_job(job) / "candidates" / "step-000020"
        losses.append(float(regression_loss(features(trained), targets, World().mean)))
    assert losses[1] < 0.7 * losses[0]


def test_an_interrupted_run_with_a_teacher_and_two_captions_gives_the_same_bytes(
    tmp_path: Path, shop: Path, tiny_base_model: Path
) -> None:
    items = read_items(shop / "products.parquet", "train", frozenset({"title"}))
    embeddings = torch.randn(len(items), 8, generator=torch.Generator().manual_seed(0)).tolist()
    teacher = write_teacher(tmp_path / "teacher.parquet", [each.product_id for each in items], embeddings)
    whole, interrupted = (
        make_job(
            tmp_path / name,
            shop,
            tiny_base_model,
            objective=make_objective(captions_per_image=2),
            heads_first=HeadsFirstConfig(epochs=1, learning_rate=1e-2),
            trainable="image_only",
            distillation=DistillationConfig(teacher="teacher.parquet", sha256="", weight=1.0),
            teacher=teacher,
        )
        for name in ("whole", "interrupted")
    )
    for after in (2, 7):
        with pytest.raises(Interrupted):
            run_job(interrupted, stop=lambda step, after=after: step >= after)
    assert sha256_tree(run_job(interrupted)) == sha256_tree(run_job(whole))


def test_a_job_has_a_teacher_if_its_config_names_one(tmp_path: Path, shop: Path, tiny_base_model: Path) -> None:
    distillation = DistillationConfig(teacher="teacher.parquet", sha256="", weight=1.0)
    with pytest.raises(UserError, match="must have a teacher if and only if"):
        read_job(make_job(tmp_path / "without", shop, tiny_base_model, distillation=distillation))
    absent = tmp_path / "absent.parquet"
    job = make_job(tmp_path / "with", shop, tiny_base_model, distillation=distillation, teacher=absent)
    with pytest.raises(UserError, match=r"its input .*teacher\.parquet does not exist"):
        read_job(job)
