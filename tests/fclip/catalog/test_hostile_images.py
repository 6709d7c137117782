"""Hostile image files are refused with the right reason or stored small, in bounded time and memory."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fclip.catalog.config import DuplicateConfig, ImageConfig
from fclip.catalog.duplicates import distinct_appearances, near_duplicates
from fclip.catalog.images import NormalisedImage, normalise_image, read_image_file
from fclip.catalog.rows import Refusal
from fclip.mirror.file_digests import FileDigests
from tests.fclip.catalog.hostile_images import encoded, hostile_images
from tests.fclip.catalog.hostile_shop import within

CONFIG = ImageConfig(stored_side=64, max_pixels=1_000_000, jpeg_quality=92)


def test_hostile_images_take_bounded_time_and_memory() -> None:
    """In a separate process, since the peak of memory never falls."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.fclip.catalog.hostile_images"]
    finished = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    taken = json.loads(finished.stdout)
    megabytes = taken.pop("")
    assert {name: reason for name, (reason, _, _) in taken.items()} == {
        name: reason for name, (_, reason) in hostile_images().items()
    }
    assert max(stored for _, stored, _ in taken.values()) < 4 * 64 * 64 + 65_536
    assert max(seconds for _, _, seconds in taken.values()) < 10
    assert megabytes < 1000  # two images of 7000 × 7000, the largest that are accepted


def test_refusal_of_other_bytes_is_deterministic() -> None:
    first, second = (normalise_image(b"<svg/> \x1b[2J", CONFIG) for _ in range(2))
    assert first == second
    assert isinstance(first, Refusal)
    assert first.detail == "not one of JPEG, PNG, WEBP, GIF, BMP, TIFF: it begins with b'<svg/> \\x1b[2J'"


@pytest.mark.parametrize("ending", ["", ".jpg", ".png", ".eps", ".svg"])
def test_file_extension_is_ignored(tmp_path: Path, ending: str) -> None:
    content = encoded(Image.new("RGB", (20, 10), "red"), "WEBP")
    (tmp_path / f"a{ending}").write_bytes(content)
    read = read_image_file(tmp_path / f"a{ending}")
    assert read == content
    assert isinstance(normalise_image(content, CONFIG), NormalisedImage)


@pytest.mark.parametrize(("longer", "kept"), [(400, True), (401, False)])
def test_narrow_image_is_refused(longer: int, kept: bool) -> None:
    for size in ((20, longer), (longer, 20)):
        taken = normalise_image(encoded(Image.new("RGB", size), "PNG"), CONFIG)
        assert isinstance(taken, NormalisedImage) == kept
        assert kept or taken == Refusal("decode", "image too narrow", f"{size[0]}x{size[1]}, 20 to 1 at most")


def test_image_with_much_extra_data_is_encoded_again() -> None:
    image = Image.effect_noise((40, 40), 60).convert("RGB")
    small, large = (encoded(image, "JPEG", quality=95, comment=bytes(size)) for size in (1000, 65_000))
    large = large[:2] + (b"\xff\xfe\xfd\xeb" + bytes(65_001)) + large[2:]
    for content in (small, large):
        taken = normalise_image(content, CONFIG)
        assert isinstance(taken, NormalisedImage)
        assert (taken.stored.content == content) == (content is small)
        assert len(taken.stored.content) < 8000
        assert Image.open(io.BytesIO(taken.stored.content)).size == (40, 40)


def test_embedded_images_have_the_size_limit_of_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fclip.catalog.images.MAX_FILE_BYTES", 500)
    content = encoded(Image.new("RGB", (16, 16)), "JPEG")
    (tmp_path / "a.jpg").write_bytes(content)
    refusal = Refusal("decode", "image too large", f"{len(content)} bytes, 500 at most")
    assert normalise_image(content, CONFIG) == read_image_file(tmp_path / "a.jpg") == refusal


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "gone"])
def test_pipes_devices_and_folders_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
    message = {"folder": "Is a directory", "gone": "No such file or directory"}.get(kind, "Not a regular file")
    with within(5):
        assert read_image_file(path) == Refusal("read", "image file unreadable", f"a.jpg: {message}")
        with pytest.raises(OSError, match=message):
            FileDigests(None).digest(path)


def test_digests_accept_64_bit_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    true = Path.stat

    def large(self: Path, **options: bool) -> os.stat_result:
        found = list(true(self, **options))
        found[1] = 2**64 - 5
        return os.stat_result([*found, *[0.0] * 3], {"st_mtime_ns": 1, "st_ctime_ns": 1})

    monkeypatch.setattr(Path, "stat", large)
    digests = FileDigests(tmp_path / "digests.parquet")
    digests.put(path, path.stat(), bytes(32))
    digests.save()
    monkeypatch.setattr("fclip.mirror.file_digests.Path.is_file", lambda _: True)
    assert FileDigests(tmp_path / "digests.parquet").find(path) == bytes(32)


def test_near_duplicates_of_two_thousand_versions_take_bounded_time() -> None:
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 200, 192, np.uint8)
    thumbnails = picture + generator.integers(0, 3, (2000, 192), np.uint8)
    appearances, _ = distinct_appearances(np.full(2000, 2**63 + 5, np.uint64), thumbnails)
    with within(8):
        pairs = near_duplicates(appearances, DuplicateConfig(max_hash_distance=6, max_difference=0.06))
    assert np.array_equal(pairs, np.stack(np.triu_indices(2000, 1), 1))
