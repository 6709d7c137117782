"""`fclip distil`: a new training with the embeddings of another model, through the same gate."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import Space


def write_teacher(path: Path, ids: list[str]) -> None:
    embeddings = np.random.default_rng(0).normal(size=(len(ids), 48)).astype("f4")
    pq.write_table(pa.table({"id": ids, "embedding": list(embeddings)}), path)


def test_an_unusable_teacher_or_weight_changes_nothing(trained: Space, tmp_path: Path) -> None:
    before = (trained.root / "params.yaml").read_bytes()
    (tmp_path / "text.parquet").write_text("id,embedding\n")
    refused = trained.call("distil", str(tmp_path / "text.parquet"))
    assert refused.code == 1
    assert "not a Parquet file with the columns id and embedding" in refused.output
    write_teacher(tmp_path / "teacher.parquet", ["a", "b"])
    refused = trained.call("distil", str(tmp_path / "teacher.parquet"), "--weight", "0")
    assert refused.code == 1
    assert "weight must be above 0" in refused.output
    space = trained.copy(tmp_path / "texts")
    space.set_params(lambda params: params["finetune"].update(trainable="text_tower"))
    params = (space.root / "params.yaml").read_bytes()
    refused = space.call("distil", str(tmp_path / "teacher.parquet"))
    assert refused.code == 1
    assert "distillation must be null where trainable is text_tower" in " ".join(refused.output.split())
    assert (space.root / "params.yaml").read_bytes() == params
    assert (trained.root / "params.yaml").read_bytes() == before


@pytest.mark.slow
def test_a_model_is_trained_with_a_teacher_and_another_file_is_refused(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "taught")
    products = pq.read_table(space.root / "data" / "training" / "products.parquet").to_pylist()
    ids = [row["product_id"] for row in products if row["split"] == "train"]
    teacher = space.root / "teacher.parquet"
    write_teacher(teacher, ids[3:])
    before = space.json("models/finetune/candidates.json")
    finished = space.run("fclip", "distil", "teacher.parquet", timeout=600)
    assert finished.code == 0, finished.output
    assert space.params["finetune"]["distillation"].items() >= {"teacher": "teacher.parquet", "weight": 1.0}.items()
    assert re.search(r"The teacher has no embedding of \d of \d+ training products", finished.output)
    after = space.json("models/finetune/candidates.json")
    assert [entry["name"] for entry in after] == [entry["name"] for entry in before]
    assert after[-1]["model_sha256"] != before[-1]["model_sha256"]
    write_teacher(teacher, ids)
    space.set_params(lambda params: params["finetune"].update(epochs=params["finetune"]["epochs"] + 1))
    refused = space.run("fclip", "stage", "finetune")
    assert refused.code == 1, refused.output
    assert "teacher.parquet has changed" in " ".join(refused.output.split())
