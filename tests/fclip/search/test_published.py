"""What is published: pointers, rollback, products that were taken down, damaged files, and builds that were killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.search.build import CatalogEmbeddings
from fclip.search.index import Index
from fclip.search.published import Exclusion, Published
from tests.fclip.search.conftest import embeddings, publish, sources
from tests.fclip.search.test_exact_search import by_vector

SECOND = sources(catalog="d" * 64)
QUERY = by_vector(np.ones(16))


@pytest.fixture
def root(exact_root: Path, tmp_path: Path) -> Path:
    """A copy of the workspace that a test may change. Times of files are kept, as a backup keeps them."""
    shutil.copytree(exact_root, tmp_path / "space")
    return tmp_path / "space"


def folder(root: Path) -> Path:
    published = Published.find(root)
    return published.index_folder(published.pointer("champion").current)


def test_new_index_is_used_and_the_one_before_stays_for_rollback(root: Path) -> None:
    first = folder(root)
    opened = Index.open(root)
    before = opened.find([QUERY])
    published, _ = publish(root, embeddings(200, seed=1), of=SECOND)
    published.clean(keep=1)
    assert opened.find([QUERY]) == before  # an index that is open goes on answering
    assert folder(root).name == SECOND.index_name
    assert Index.open(root).find([QUERY]) != before
    assert first.is_dir()
    pointer = published.roll_back("champion", "2026-02-02")
    assert (pointer.current.index, pointer.current.since) == (first.name, "2026-02-02")
    assert Index.open(root).find([QUERY]) == before
    with pytest.raises(UserError, match="no earlier index of the champion"):
        published.roll_back("champion", "2026-02-03")


def test_older_indexes_and_what_killed_builds_left_are_deleted(root: Path) -> None:
    published = Published.find(root)
    for number in range(3):
        publish(root, embeddings(20, seed=number), of=sources(catalog=f"{number}" * 64))
    (published.indexes / ".left-over").mkdir()
    (published.models / ("f" * 64)).mkdir(parents=True)
    published.clean(keep=1)
    names = [sources(catalog=f"{number}" * 64).index_name for number in (1, 2)]
    assert sorted(path.name for path in published.indexes.iterdir()) == names
    assert not list(published.models.iterdir())
    history = [each.index for each in published.pointer("champion").previous]
    assert len(history) == 3  # the history names deleted indexes too


def test_champion_and_challenger_have_pointers_of_their_own(root: Path) -> None:
    before = Index.open(root).find([QUERY])
    with pytest.raises(UserError, match=r"no index of the challenger .*fclip publish --challenger"):
        Index.open(root, challenger=True)
    other = sources(model="b" * 64)
    published, _ = publish(root, embeddings(300, seed=9), role="challenger", of=other)
    published.clean(keep=1)
    challenger = Index.open(root, challenger=True)
    assert challenger.manifest.sources.model_sha256 == "b" * 64
    with pytest.raises(UserError, match=r"embedded by model a{12}, the index by b{12}"):
        challenger.find([QUERY])
    assert Index.open(root).find([QUERY]) == before
    published.withdraw("challenger")
    published.clean(keep=1)
    assert [path.name for path in published.indexes.iterdir()] == [folder(root).name]


def test_product_that_is_taken_down_is_in_no_result_of_an_open_index(root: Path) -> None:
    index = Index.open(root)
    (hits,) = index.find([QUERY], k=5)
    gone = [Exclusion(hit.dataset, hit.product_id, "2026-01-01") for hit in hits[:2]]
    published = Published.find(root)
    published.write_exclusions(gone)
    assert index.find([QUERY], k=3) == [hits[2:5]]
    assert index.find([QUERY], filters={"dataset": ["shop", "street"]}, k=3) == [hits[2:5]]
    (similar,) = [index.find_similar(hits[2].product_id, dataset=hits[2].dataset, k=300)]
    assert not {each.product_id for each in gone} & {hit.product_id for hit in similar}
    published.write_exclusions([])
    assert index.find([QUERY], k=5) == [hits]
    published.exclusions_file.write_text('{"not": "a list"}')
    with pytest.raises(UserError, match="the products that were taken down are unknown"):
        index.find([QUERY])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one byte, so that the size stays the same."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["vectors.npy", "products.npy", "catalog.sqlite"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda path: path.write_bytes(b"")])
def test_damaged_index_is_refused_with_the_remedy(root: Path, name: str, damage: Callable[[Path], object]) -> None:
    damage(folder(root) / name)
    with pytest.raises(UserError, match=rf"{name} .*fclip index --rollback.*fclip publish"):
        Index.open(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[]", "is not of format 1"),
        ('{"format": 99}', "is not of format 1"),
        ('{"format": 1, "sources": {}}', "is not a valid manifest"),
    ],
)
def test_foreign_manifest_is_refused(root: Path, content: str, message: str) -> None:
    (folder(root) / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=rf"{message}.*fclip publish"):
        Index.open(root)


def test_pointer_to_nothing_and_damaged_pointer_are_refused(root: Path, tmp_path: Path) -> None:
    published = Published.find(root)
    published.pointer_file("champion").write_text('{"current": {"index": 3}}')
    with pytest.raises(UserError, match=r"champion.json is damaged .*`fclip publish`"):
        Index.open(root)
    publish(root, embeddings(20), of=SECOND)  # the next publication writes it again
    assert Index.open(root).manifest.num_products == 20
    shutil.rmtree(folder(root))
    with pytest.raises(UserError, match=r"points to the index .*, which does not exist; go back .* `fclip publish`"):
        Index.open(root)
    with pytest.raises(UserError, match=r"nothing is published in .*; run `fclip retrain`"):
        Index.open(tmp_path)


def test_empty_catalog_is_not_published(root: Path) -> None:
    before = sha256_tree(root)
    empty = CatalogEmbeddings([], np.empty(0, np.int32), [], np.empty((0, 16), np.float32), np.empty((0, 16), "f4"))
    with pytest.raises(UserError, match="no product to publish; the index that is published stays"):
        publish(root, empty, of=SECOND)
    assert sha256_tree(root) == before


def test_copy_of_the_folder_published_can_be_searched_elsewhere(root: Path, tmp_path: Path) -> None:
    before = Index.open(root).find([QUERY])
    shutil.copytree(root / "published", tmp_path / "elsewhere", copy_function=shutil.copy)  # with new times
    shutil.rmtree(root)
    assert Index.open(tmp_path / "elsewhere").find([QUERY]) == before


BUILD = """
import sys
from pathlib import Path
from tests.fclip.search.conftest import embeddings, publish, sources
from fclip.search.config import SearchConfig
print("ready", flush=True)
publish(Path(sys.argv[1]), embeddings(8_000, seed=1), SearchConfig(exact_below=0), of=sources(catalog="d" * 64))
"""


@pytest.mark.slow
def test_build_killed_at_any_moment_leaves_the_old_index_answering(root: Path) -> None:
    """Killed after 0 ms, 200 ms, … until a build ends. `python -m pytest -m slow tests/fclip/search`"""
    before, first = Index.open(root).find([QUERY]), folder(root)
    published, killed = Published.find(root), 0
    while True:
        process = subprocess.Popen([sys.executable, "-c", BUILD, str(root)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(killed * 0.2)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        if process.wait() == 0:
            break
        killed += 1
        if folder(root) != first:
            break  # killed after the pointer moved
        assert Index.open(root).find([QUERY]) == before
    assert killed > 3
    assert Index.open(root).manifest.num_products == 8_000
    published.clean(keep=1)
    assert {path.name for path in published.indexes.iterdir()} == {first.name, SECOND.index_name}
