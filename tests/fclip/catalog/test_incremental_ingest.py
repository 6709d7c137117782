"""A second ingest decodes only new images and gives the same catalog as a first ingest."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import fclip.catalog.image_importer as image_importer
from fclip.catalog.compaction import Compaction, compact_store
from fclip.files import digest_bytes, sha256_bytes, sha256_tree
from fclip.images.packs import ImagePacks
from fclip.mirror.file_digests import FileDigests
from tests.fclip.catalog.catalog_shop import Built, Shop, jpeg
from tests.fclip.catalog.test_near_duplicates import photograph

Build = Callable[..., Built]
HEAD = "id,title,colour,image"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of the decoded images, in order."""
    seen: list[str] = []
    true = image_importer.normalise_image

    def counted(content: bytes, *rest: object) -> object:
        seen.append(sha256_bytes(content))
        return true(content, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(image_importer, "normalise_image", counted)
    return seen


def rows(numbers: list[int]) -> list[str]:
    return [HEAD, *(f"p{number},Red coat no {number},red,{number}.jpg" for number in numbers)]


def packs(built: Built) -> dict[str, str]:
    return {path.name: sha256_bytes(path.read_bytes()) for path in built.images.iterdir()}


def test_second_ingest_decodes_only_new_and_changed_images(
    full_shop: Shop, build: Build, tmp_path: Path, decoded: list[str]
) -> None:
    first = build(full_shop.source(), cache_dir=tmp_path / "cache")
    before = packs(first)
    decoded.clear()
    (full_shop.images / "7.jpg").write_bytes(jpeg(700))  # changed
    (full_shop.images / "60.jpg").write_bytes(jpeg(60))  # new
    full_shop.write_csv(rows([number for number in range(61) if number != 13]))  # 13 is deleted
    second = build(full_shop.source(), cache_dir=tmp_path / "cache")
    assert sorted(decoded) == sorted([sha256_bytes(jpeg(700)), sha256_bytes(jpeg(60))])
    after = packs(second)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    new_pack = next(second.images / name for name in after if name not in before)
    assert len(ImagePacks([second.images])) == 62  # the deleted and the changed image are still in a pack
    assert new_pack.stat().st_size < 3000
    kept = sha256_tree(second.catalog)
    fresh = build(full_shop.source(), cache_dir=None)
    assert sha256_tree(fresh.catalog) == kept
    assert [row["product_id"] for row in second.products] == [row["product_id"] for row in fresh.products]
    assert len(ImagePacks([fresh.images])) == 60


def test_unchanged_source_decodes_nothing_and_writes_no_pack(
    full_shop: Shop, build: Build, tmp_path: Path, decoded: list[str]
) -> None:
    first = build(full_shop.source(), cache_dir=tmp_path / "cache")
    before = sha256_tree(first.images), sha256_tree(first.catalog)
    assert len(decoded) == 60
    decoded.clear()
    shutil.rmtree(first.images)  # as DVC does before a stage runs
    second = build(full_shop.source(), cache_dir=tmp_path / "cache")
    assert (sha256_tree(second.images), sha256_tree(second.catalog)) == before
    assert decoded == []


def test_refused_image_is_not_decoded_again(full_shop: Shop, build: Build, tmp_path: Path, decoded: list[str]) -> None:
    (full_shop.images / "5.jpg").write_bytes(b"no image")
    first = build(full_shop.source(), cache_dir=tmp_path / "cache")
    decoded.clear()
    second = build(full_shop.source(), cache_dir=tmp_path / "cache")
    assert decoded == []
    assert first.reasons == second.reasons == {5: "unreadable image"}


@pytest.mark.parametrize("damage", ["pack", "index", "refused", "all"])
def test_damaged_or_missing_cache_is_rebuilt(
    full_shop: Shop, build: Build, tmp_path: Path, decoded: list[str], damage: str
) -> None:
    cache = tmp_path / "cache"
    first = build(full_shop.source(), cache_dir=cache)
    kept = sha256_tree(first.catalog)
    decoded.clear()
    match damage:
        case "pack":
            next(cache.rglob("pack-*.parquet")).unlink()
        case "index":
            path = next(cache.rglob("images.parquet"))
            path.write_bytes(path.read_bytes()[:100])
        case "refused":
            next(cache.rglob("refused.parquet")).unlink()
        case "all":
            shutil.rmtree(cache)
    second = build(full_shop.source(), cache_dir=cache)
    assert len(decoded) == 60
    assert sha256_tree(second.catalog) == kept
    assert len(ImagePacks([second.images])) == 60


def test_near_duplicates_do_not_depend_on_deleted_products(full_shop: Shop, build: Build, tmp_path: Path) -> None:
    """A deleted image between two others must not keep them linked."""
    ends = photograph(1), photograph(2)
    for number, share in ((0, 0.0), (1, 0.025), (2, 0.05)):
        Image.blend(*ends, share).save(full_shop.images / f"{number}.jpg", quality=98)
    with_middle = build(full_shop.source(), cache_dir=tmp_path / "cache")
    assert with_middle.summary.num_groups <= 58  # the middle one links the others
    full_shop.write_csv(rows([number for number in range(60) if number != 1]))
    second = build(full_shop.source(), cache_dir=tmp_path / "cache")
    kept = sha256_tree(second.catalog)
    assert sha256_tree(build(full_shop.source(), cache_dir=None).catalog) == kept
    assert second.summary.num_refused == 0


def test_file_digests_notice_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    old = path.stat().st_mtime_ns - 10_000_000_000
    os.utime(path, ns=(old, old))
    digests = FileDigests(tmp_path / "digests.parquet")
    assert digests.digest(path) == digest_bytes(b"one")
    assert digests.find(path) is None  # its inode changed too recently
    monkeypatch.setattr("fclip.files.SECONDS_TO_SETTLE", -1.0)
    assert digests.digest(path) == digest_bytes(b"one")
    assert digests.find(path) == digest_bytes(b"one")
    digests.save()
    again = FileDigests(tmp_path / "digests.parquet")
    assert again.find(path) == digest_bytes(b"one")
    path.write_bytes(b"two")
    os.utime(path, ns=(old, old))  # same size and modification time; only ctime differs
    assert again.digest(path) == digest_bytes(b"two")
    another = FileDigests(tmp_path / "digests.parquet")
    assert another.find(path) is None
    assert another.find(tmp_path / "none.jpg") is None


def test_compaction_deletes_unused_images(full_shop: Shop, build: Build, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    build(full_shop.source(), cache_dir=cache)
    for number in (60, 61):  # two more small packs
        (full_shop.images / f"{number}.jpg").write_bytes(jpeg(number))
        full_shop.write_csv(rows(list(range(number + 1))))
        build(full_shop.source(), cache_dir=cache)
    full_shop.write_csv(rows(list(range(1, 62))))
    last = build(full_shop.source(), cache_dir=cache)
    shown = {image for row in last.products for image in row["images"]}
    gone = sha256_bytes(jpeg(0))
    assert gone in ImagePacks([last.images])
    done = compact_store(cache / "images", shown)
    assert done == Compaction(num_dropped=1, num_packs_before=3, num_packs=1, sources=frozenset([gone]))
    after = build(full_shop.source(), cache_dir=cache)
    assert sha256_tree(after.catalog) == sha256_tree(build(full_shop.source(), cache_dir=None).catalog)
    packs = ImagePacks([after.images])
    assert gone not in packs
    assert len(packs) == 61
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert bytes.fromhex(gone) not in everything
    assert jpeg(0) not in everything
    assert jpeg(1) in everything
    assert compact_store(cache / "images", shown) == Compaction(0, 1, 1)


def test_stray_pack_of_a_killed_run_is_deleted(full_shop: Shop, build: Build, tmp_path: Path) -> None:
    build(full_shop.source(), cache_dir=tmp_path / "cache")
    stray = next((tmp_path / "cache").rglob("pack-*.parquet")).parent / "pack-stray.parquet"
    stray.write_bytes(b"half")
    assert len(ImagePacks([build(full_shop.source(), cache_dir=tmp_path / "cache").images])) == 60
    assert not stray.exists()
