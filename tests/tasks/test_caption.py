"""The stage `caption`: captions from catalog, templates and the tokenizer of the base model."""

from pathlib import Path
from typing import Any

import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from fclip.base_models.pinning import pin_base_model
from fclip.captions.table import read_captions, read_summary
from fclip.catalog.tables import PRODUCTS
from fclip.errors import UserError
from fclip.models.folder import write_config
from fclip.models.preprocess import Preprocess
from fclip.models.store import write_weights
from tasks.base_model import base_model_config
from tasks.caption import caption
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin

MODEL = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 6, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
TEMPLATES = {
    "head": "article_type",
    "title": "{title}",
    "attributes": "{colour} {article_type}",
}
CLEANING = {"max_chars": 1000, "sku": [], "boilerplate": []}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with two products and a tiny base model with a context of six tokens."""
    workspace = Workspace(tmp_path)
    folder = tmp_path / "base-model"
    folder.mkdir()
    torch.manual_seed(0)
    write_weights(open_clip.CLIP(**MODEL), folder)  # type: ignore[arg-type]
    write_config(MODEL, Preprocess(size=32, mean=(0.5,) * 3, std=(0.5,) * 3), folder)
    params: dict[str, Any] = {
        "caption": {"settings": {"cleaning": CLEANING}, "datasets": {"studio": TEMPLATES}},
        "finetune": {"base_model": {"kind": "local", "path": "base-model"}},
    }
    workspace.params.write_text(yaml.safe_dump(params), encoding="utf-8")
    base_model = base_model_config(workspace)
    write_pin(workspace.base_model_pin, pin_base_model(base_model, root=tmp_path, cache_dir=workspace.model_cache))
    rows = [
        {
            "product_id": name,
            "group_id": name,
            "split": split,
            "attributes": [("colour", "red"), ("article_type", "coat")],
            "texts": [("title", title)],
            "images": ["0" * 64],
        }
        for name, split, title in (("a", "train", "Coat"), ("b", "val", "A long red coat with many buttons"))
    ]
    workspace.catalog("studio").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=PRODUCTS), workspace.catalog("studio") / "products.parquet")
    return workspace


def test_captions_have_token_counts(workspace: Workspace) -> None:
    caption(workspace, "studio")
    first, second = read_captions(workspace.captions("studio")).to_pylist()
    assert (first["product_id"], first["split"]) == ("a", "train")
    assert first["captions"] == [
        {"kind": "title", "text": "Coat", "num_tokens": 3, "truncated": False},
        {"kind": "attributes", "text": "red coat", "num_tokens": 4, "truncated": False},
    ]
    assert second["captions"][0] == {"kind": "title", "text": "A long red coat", "num_tokens": 6, "truncated": True}
    assert read_summary(workspace.captions("studio"))["num_truncated"] == {"title": 1}


def test_invalid_cleaning_rule_is_reported_by_key(workspace: Workspace) -> None:
    params = yaml.safe_load(workspace.params.read_text())
    params["caption"]["settings"] = {"cleaning": {"sku": ["[A-Z"]}}
    workspace.params.write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match=r"settings\.cleaning: sku\.0 must be a regular expression, not '\[A-Z'"):
        caption(workspace, "studio")


def test_same_catalog_gives_the_same_bytes(workspace: Workspace) -> None:
    caption(workspace, "studio")
    content = workspace.captions("studio").read_bytes()
    caption(workspace, "studio")
    assert workspace.captions("studio").read_bytes() == content


def test_missing_inputs_are_reported(workspace: Workspace) -> None:
    with pytest.raises(UserError, match=r"caption.datasets of .*: no dataset `street`; it has studio"):
        caption(workspace, "street")
    workspace.base_model_pin.unlink()
    with pytest.raises(UserError, match="base model is not pinned"):
        caption(workspace, "studio")
    (workspace.catalog("studio") / "products.parquet").unlink()
    with pytest.raises(UserError, match="run `dvc pull`, or ingest studio first"):
        caption(workspace, "studio")
    assert not workspace.captions("studio").exists()
