"""Image packs: content, names, reading and damage."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fclip.errors import UserError
from fclip.files import sha256_bytes, sha256_tree
from fclip.images.packs import ROW_GROUP_BYTES, ImagePacks, PackWriter, StoredImage
from tests.packs import write_packs


def _images(count: int, size: int = 2000) -> list[StoredImage]:
    contents = [(f"{index} " * size).encode()[:size] for index in range(count)]
    return [StoredImage(sha256_bytes(content), content, 8, 9) for content in contents]


def test_images_are_returned_by_digest_in_the_requested_order(tmp_path: Path) -> None:
    images = _images(300)
    paths = write_packs(tmp_path, images, max_bytes=200_000)
    assert len(paths) == 3
    packs = ImagePacks([tmp_path])
    requested = [*reversed(images), images[0]]
    assert packs.read_many([image.sha256 for image in requested]) == [image.content for image in requested]
    assert packs.read(images[7].sha256) == images[7].content
    assert len(packs) == 300
    assert images[0].sha256 in packs


def test_rows_are_sorted_and_without_duplicates(tmp_path: Path) -> None:
    images = _images(20)
    (path,) = write_packs(tmp_path, images + images[:5])
    digests = pq.read_table(path)["image_sha256"].to_pylist()
    assert digests == sorted(image.sha256 for image in images)


def test_packs_are_deterministic(tmp_path: Path) -> None:
    images = _images(50)
    write_packs(tmp_path / "a", images, max_bytes=30_000)
    write_packs(tmp_path / "b", images, max_bytes=30_000)
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")


def test_row_groups_are_small(tmp_path: Path) -> None:
    (path,) = write_packs(tmp_path, _images(1000))
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(group).total_byte_size for group in range(file.num_row_groups)]
    assert len(sizes) > 1
    assert max(sizes) < 2 * ROW_GROUP_BYTES


def test_images_are_read_from_several_folders_in_threads(tmp_path: Path) -> None:
    images = _images(200)
    write_packs(tmp_path / "a", images[:100])
    write_packs(tmp_path / "b", images[100:])
    packs = ImagePacks([tmp_path / "a", tmp_path / "b"])
    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(lambda image: packs.read(image.sha256), images))
    assert contents == [image.content for image in images]


def test_packs_can_be_pickled(tmp_path: Path) -> None:
    images = _images(20)
    write_packs(tmp_path, images)
    packs = ImagePacks([tmp_path])
    packs.read(images[3].sha256)
    assert pickle.loads(pickle.dumps(packs)).read(images[5].sha256) == images[5].content


def test_a_missing_image_or_folder_is_an_error(tmp_path: Path) -> None:
    write_packs(tmp_path, _images(2))
    with pytest.raises(UserError, match="dvc pull"):
        ImagePacks([tmp_path]).read("0" * 64)
    with pytest.raises(UserError, match="no image packs; run `dvc pull`"):
        ImagePacks([tmp_path / "absent"])


def test_a_damaged_pack_is_an_error(tmp_path: Path) -> None:
    (path,) = write_packs(tmp_path, _images(20))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=f"{path.name} is damaged"):
        ImagePacks([tmp_path])


def test_an_error_discards_the_unfinished_pack(tmp_path: Path) -> None:
    def fail() -> None:
        with PackWriter(tmp_path) as writer:
            writer.add(_images(1)[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
