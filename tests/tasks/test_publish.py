"""Publication of the champion's and the challenger's index, in a workspace after its first run."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fclip import Index
from fclip.embeddings.store import read_embeddings
from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.models.digests import model_sha256
from fclip.registry.log import RunRecord, register_version
from fclip.search.query import Query
from tasks.publish import publish, publish_challenger, roll_back_index, take_down
from tasks.workspace.paths import Workspace
from tests.conftest import FOREIGN_SETTINGS, Space


@pytest.fixture
def space(trained: Space, tmp_path: Path) -> Iterator[Space]:
    """A copy of the workspace, with its registry in the environment of this process."""
    copied = trained.copy(tmp_path / "space")
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN_SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("FCLIP_HOME", copied.environment["FCLIP_HOME"])
        yield copied


@pytest.fixture
def workspace(space: Space) -> Workspace:
    return Workspace(space.root)


def query(index: Index) -> Query:
    vector = np.random.default_rng(0).normal(size=index.manifest.dim).astype(np.float32)
    return Query(vector=vector, model_sha256=index.publication.model_sha256)


def test_index_has_the_products_of_the_embeddings_with_their_attributes(trained: Space) -> None:
    workspace = Workspace(trained.root)
    index, stored = Index.open(trained.root), read_embeddings(workspace.embeddings)
    assert index.publication.version == 1
    assert (
        index.manifest.sources.model_sha256 == stored.model_sha256 == trained.json("pins/champion.json")["model_sha256"]
    )
    assert (index.manifest.num_products, index.manifest.num_images) == (160, len(stored.images))
    catalog = {
        row["product_id"]: dict(row["attributes"])
        for row in pq.read_table(workspace.catalog("studio") / "products.parquet").to_pylist()
    }
    one = query(index)
    similarity = stored.images @ (one.vector / np.linalg.norm(one.vector))  # type: ignore[operator]
    best = pd.Series(similarity).groupby(stored.product_ids).max()
    (hits,) = index.find([one], k=160)
    assert len(hits) == len(best)
    for hit in hits:
        assert hit.similarity == pytest.approx(best[hit.product_id], abs=1e-5)
        assert hit.attributes == catalog[hit.product_id]
        assert hit.title == stored.title("studio", hit.product_id)


def test_python_returns_a_frame_with_pictures(space: Space) -> None:
    frame = Index.open(space.root).search(text="red dress", filters={"colour": "RED"}, k=4, images=True)
    assert set(frame["colour"]) == {"red"}
    for path in frame["image_path"]:
        assert Path(path).read_bytes()[:4] in (b"\xff\xd8\xff\xe0", b"\x89PNG")


def test_publishing_again_changes_nothing_and_repairs_what_is_damaged(workspace: Workspace) -> None:
    before = sha256_tree(workspace.published)
    assert not publish(workspace).changed
    assert sha256_tree(workspace.published) == before
    index = Index.open(workspace.root)
    found = index.find([query(index)])
    folder = workspace.published / "indexes" / index.publication.index
    (folder / "vectors.npy").write_bytes(b"damaged")
    shutil.rmtree(folder / "lancedb")
    shutil.rmtree(workspace.published / "models" / index.publication.model_sha256)
    assert not publish(workspace).changed
    opened = Index.open(workspace.root)
    assert opened.find([query(opened)]) == found
    assert len(opened.search("red dress")) == 10


def test_failed_publication_keeps_the_index(workspace: Workspace) -> None:
    before = sha256_tree(workspace.published)
    images = workspace.embeddings / "images.parquet"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(UserError, match="no readable embeddings"):
        publish(workspace)
    shutil.rmtree(workspace.embeddings)
    with pytest.raises(UserError, match="has no embeddings; run `fclip retrain`, or `dvc pull`"):
        publish(workspace)
    assert sha256_tree(workspace.published) == before


def test_product_taken_down_is_in_no_later_index_and_comes_back(workspace: Workspace) -> None:
    index = Index.open(workspace.root)
    (hits,) = index.find([query(index)], k=2)
    gone = hits[0].product_id
    with pytest.raises(UserError, match="no product 'absent' is published; nothing was changed"):
        take_down(workspace, [gone, "absent"], dataset=None, undo=False)
    with pytest.raises(UserError, match=f"no product '{gone}' was taken down"):
        take_down(workspace, [gone], dataset=None, undo=True)
    assert index.find([query(index)], k=2) == [hits]

    take_down(workspace, [gone], dataset=None, undo=False)
    assert index.find([query(index)], k=1) == [hits[1:]]
    done = publish(workspace)
    assert (done.changed, done.num_products) == (True, 159)
    assert not Index.open(workspace.root).catalog.numbers_of(gone)
    roll_back_index(workspace, "champion")
    assert Index.open(workspace.root).find([query(index)], k=1) == [hits[1:]]
    take_down(workspace, [gone], dataset="studio", undo=True)
    assert Index.open(workspace.root).find([query(index)], k=2) == [hits]


def test_challenger_has_an_index_of_its_own(workspace: Workspace, space: Space) -> None:
    assert publish_challenger(workspace) is None  # the only version is the champion
    before = json.loads((workspace.published / "champion.json").read_text())
    champion = before["current"]["model_sha256"]
    folders = [path for path in (workspace.finetune / "candidates").iterdir() if model_sha256(path) != champion]
    record = RunRecord(params={}, points=(), headline={}, tags={})
    receipt = register_version(space.params["base"]["registered_model"], folders[0], record, run_name="challenger")
    done = publish_challenger(workspace)
    assert done is not None
    assert (done.role, done.model_sha256, done.changed) == ("challenger", receipt.model_sha256, True)
    assert json.loads((workspace.published / "champion.json").read_text()) == before
    index, other = Index.open(workspace.root), Index.open(workspace.root, challenger=True)
    assert (other.publication.version, other.publication.model_sha256) == (2, receipt.model_sha256)
    with pytest.raises(UserError, match="use the model of the index"):
        other.find([query(index)])
    assert len(other.search("red dress")) == 10
    found = space.call("search", "red dress", "--challenger", "--json", "-k", "2")
    assert json.loads(found.output)["version"] == 2
    assert not workspace.challenger_embeddings.exists()
    shown = space.call("index").output
    assert "champion" in shown
    assert workspace.published.joinpath("champion.md").read_text().startswith("---")
    assert workspace.published.joinpath("challenger.md").is_file()
    assert f"model     {receipt.model_sha256[:12]} (version 2)" in shown
