"""The cache of decoded images: content, reuse, damage and interruption."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fclip.errors import UserError
from fclip.images.packs import ImagePacks
from fclip.progress import ProgressRecord
from fclip.training import pixel_cache
from fclip.training.pixel_cache import Pixels, open_pixels
from fclip.training.stop import Interrupted, never_stop
from tests.fclip.training.pictures import PREPROCESS, broken, expected, photograph, write_pictures

IMAGES = [photograph(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> ImagePacks:
    return write_pictures(tmp_path_factory.mktemp("packs"), IMAGES)[0]


@pytest.fixture(autouse=True)
def records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write progress as records, for `num_decoded`."""
    monkeypatch.setenv("FCLIP_PROGRESS", "records")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use eight images per block and two blocks per part."""
    monkeypatch.setattr(pixel_cache, "BLOCK_IMAGES", 8)
    monkeypatch.setattr(pixel_cache, "PART_BYTES", 17 * pixel_cache.image_bytes(PREPROCESS))


def opened(folder: Path, packs: ImagePacks, rows: range = range(40)) -> Pixels:
    return open_pixels(folder, packs, [IMAGES[row].sha256 for row in rows], PREPROCESS, stop=never_stop)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("part-*.npy"))


def num_decoded(capsys: pytest.CaptureFixture[str]) -> int:
    """Return the number of images decoded since the last call."""
    records = map(ProgressRecord.from_line, capsys.readouterr().err.split("\n"))
    return sum(record.done for record in records if record and record.ended)


def test_pixels_equal_decoding_one_by_one(tmp_path: Path, packs: ImagePacks) -> None:
    pixels = opened(tmp_path, packs)
    rows = np.array([3, 39, 0, 3, 17])
    assert (len(pixels), pixels.size) == (40, 24)
    assert (pixels.read(np.arange(40)) == expected(IMAGES)).all()
    assert (pixels.read(rows) == expected([IMAGES[row] for row in rows])).all()
    assert pixels.read(np.array([], np.int64)).shape == (0, 24, 24, 3)
    out = np.zeros((5, 24, 24, 3), np.uint8)
    assert pixels.read(rows, out) is out
    assert [len(batch) for batch in pixels.batches([rows, rows[:2]])] == [5, 2]
    assert sorted(len(np.load(part)) for part in parts(tmp_path)) == [8, 16, 16]


def test_the_next_run_decodes_only_new_images(
    tmp_path: Path, packs: ImagePacks, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(tmp_path, packs, range(30))
    assert num_decoded(capsys) == 30
    before = {path: path.stat().st_mtime_ns for path in parts(tmp_path)}
    pixels = opened(tmp_path, packs, range(39, 20, -1))
    assert num_decoded(capsys) == 10
    assert (pixels.read(np.arange(19)) == expected(IMAGES[39:20:-1])).all()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    opened(tmp_path, packs)
    assert num_decoded(capsys) == 0


def test_a_repeated_image_is_decoded_once(tmp_path: Path, packs: ImagePacks) -> None:
    digests = [IMAGES[0].sha256, IMAGES[1].sha256, IMAGES[0].sha256]
    pixels = open_pixels(tmp_path, packs, digests, PREPROCESS, stop=never_stop)
    assert (pixels.read(np.arange(3)) == expected([IMAGES[0], IMAGES[1], IMAGES[0]])).all()
    assert sum(len(np.load(part)) for part in parts(tmp_path)) == 2


@pytest.mark.parametrize(
    "change", [{"size": 20}, {"resize_mode": "longest"}, {"interpolation": "bilinear"}, {"fill_color": 9}]
)
def test_each_geometry_has_its_own_folder(tmp_path: Path, packs: ImagePacks, change: dict[str, object]) -> None:
    opened(tmp_path, packs)
    other = replace(PREPROCESS, **change)  # type: ignore[arg-type]
    pixels = open_pixels(tmp_path, packs, [image.sha256 for image in IMAGES], other, stop=never_stop)
    assert (pixels.read(np.arange(40)) == expected(IMAGES, other)).all()
    assert len(list(tmp_path.iterdir())) == 2
    same = replace(PREPROCESS, mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    open_pixels(tmp_path, packs, [IMAGES[0].sha256], same, stop=never_stop)
    assert len(list(tmp_path.iterdir())) == 2, "normalisation is not part of the key"


def truncated(content: bytes) -> bytes:
    return content[:-10]


def without_header(content: bytes) -> bytes:
    return b"x" * 64 + content[64:]


def emptied(content: bytes) -> bytes:
    return b""


def other_digests(content: bytes) -> bytes:
    return content[:-32] + b"0" * 32


@pytest.mark.parametrize("damage", [truncated, without_header, emptied, other_digests])
def test_damaged_parts_are_deleted_and_decoded_again(
    damage: Callable[[bytes], bytes],
    tmp_path: Path,
    packs: ImagePacks,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened(tmp_path, packs)
    assert num_decoded(capsys) == 40
    victim = parts(tmp_path)[1]
    lost = len(np.load(victim))
    victim.write_bytes(damage(victim.read_bytes()))
    pixels = opened(tmp_path, packs)
    assert f"Deleted {victim}, which is damaged" in caplog.text
    assert num_decoded(capsys) == lost
    caplog.clear()
    assert (pixels.read(np.arange(40)) == expected(IMAGES)).all()
    opened(tmp_path, packs)
    assert "damaged" not in caplog.text
    assert num_decoded(capsys) == 0


def test_an_interruption_keeps_decoded_images(
    tmp_path: Path, packs: ImagePacks, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = iter(range(3))
    digests = [image.sha256 for image in IMAGES]
    with pytest.raises(Interrupted, match="decoded images are kept"):
        open_pixels(tmp_path, packs, digests, PREPROCESS, stop=lambda step: next(calls, None) is None)
    assert sum(len(np.load(part)) for part in parts(tmp_path)) == 24
    assert not list(tmp_path.rglob(".*")), "no partial files"
    num_decoded(capsys)
    pixels = opened(tmp_path, packs)
    assert num_decoded(capsys) == 16
    assert (pixels.read(np.arange(40)) == expected(IMAGES)).all()


def test_an_undecodable_image_is_named(tmp_path: Path) -> None:
    images = [*IMAGES[:20], broken()]
    packs, digests = write_pictures(tmp_path / "packs", images)
    with pytest.raises(UserError, match=f"^image {broken().sha256}: a stored image cannot be decoded"):
        open_pixels(tmp_path / "pixels", packs, digests, PREPROCESS, stop=never_stop)
    assert sum(len(np.load(part)) for part in parts(tmp_path / "pixels")) == 16, "earlier images are kept"
    with pytest.raises(UserError, match=r"f{64} is in no pack"):
        open_pixels(tmp_path / "pixels", packs, ["f" * 64], PREPROCESS, stop=never_stop)


def test_an_unwritable_folder_is_an_error(tmp_path: Path, packs: ImagePacks) -> None:
    (tmp_path / "pixels").write_bytes(b"a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot be written .* reduce finetune.pixel_cache_gb"):
        opened(tmp_path / "pixels", packs)


def _open_in_process(folder: Path, images: Path, failed: "multiprocessing.queues.Queue[bool]") -> None:
    pixels = open_pixels(folder, ImagePacks([images]), [image.sha256 for image in IMAGES], PREPROCESS, stop=never_stop)
    failed.put(bool((pixels.read(np.arange(40)) != expected(IMAGES)).any()))


def test_several_processes_may_open_it_at_the_same_time(tmp_path: Path) -> None:
    write_pictures(tmp_path / "packs", IMAGES)
    context = multiprocessing.get_context("fork")
    failed = context.Queue()
    arguments = (tmp_path / "pixels", tmp_path / "packs", failed)
    processes = [context.Process(target=_open_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert [failed.get(timeout=60) for _ in processes] == [False, False]
    for process in processes:
        process.join(30)
    pixels = opened(tmp_path / "pixels", ImagePacks([tmp_path / "packs"]))
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(pixels.read, [np.arange(40)] * 8):
            assert (found == expected(IMAGES)).all()
