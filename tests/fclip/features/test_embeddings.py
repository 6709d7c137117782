"""Embeddings of a catalog: those of earlier passes are kept, and the result does not depend on them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fclip.features.embeddings import Embedded, embed
from fclip.features.similarity import unit
from fclip.images.packs import ImagePacks, StoredImage
from tests.fclip.features.test_extract import run

TEXTS = [f"text {number}" for number in range(20)]


@pytest.fixture
def pass_(models: dict[str, Path], packs: ImagePacks, tmp_path: Path):
    """pass_(images, texts, name) embeds with the model `name`; features of an earlier pass are not kept."""

    def run_pass(images: list[str], texts: list[str], name: str = "seed-0") -> Embedded:
        shutil.rmtree(tmp_path / "features", ignore_errors=True)
        return embed(
            models[name],
            f"digest of {name}",
            packs=packs,
            images=images,
            texts=texts,
            kept=tmp_path / "kept",
            cache=tmp_path / "features",
            device="cpu",
            batch_size=16,
        )

    return run_pass


def test_only_new_images_and_texts_are_encoded_with_the_same_bytes(
    pass_, models: dict[str, Path], packs: ImagePacks, images: list[StoredImage], tmp_path: Path
) -> None:
    digests = [image.sha256 for image in images]
    first = pass_([*digests[:60], digests[3]], [*TEXTS[:15], TEXTS[2]])
    assert (first.num_encoded, first.num_kept) == (75, 0)
    again = pass_([*digests[:60], digests[3]], [*TEXTS[:15], TEXTS[2]])
    assert (again.num_encoded, again.num_kept) == (0, 75)
    np.testing.assert_array_equal(again.images, first.images)

    wanted, texts = digests[:19:-1], TEXTS[5:]
    changed = pass_(wanted, texts)
    assert (changed.num_encoded, changed.num_kept) == (15 + 5, 40 + 10)
    (expected,) = run({"seed-0": models["seed-0"]}, packs, wanted, texts, tmp_path / "other").values()
    np.testing.assert_array_equal(changed.images, unit(expected.images))
    np.testing.assert_array_equal(changed.texts, unit(expected.texts))
    back = pass_(digests[:60], TEXTS[:15])  # those that were gone are encoded again
    assert (back.num_encoded, back.num_kept) == (20 + 5, 40 + 10)


def test_models_are_kept_apart_and_the_oldest_is_deleted(pass_, images: list[StoredImage], tmp_path: Path) -> None:
    digests = [image.sha256 for image in images[:5]]
    one, other = pass_(digests, TEXTS[:3]), pass_(digests, TEXTS[:3], "seed-1")
    assert not np.array_equal(one.images, other.images)
    assert pass_(digests, TEXTS[:3]).num_encoded == pass_(digests, TEXTS[:3], "seed-1").num_encoded == 0
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_damaged_files_are_computed_again(
    pass_, images: list[StoredImage], tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    digests = [image.sha256 for image in images[:5]]
    first = pass_(digests, TEXTS[:3])
    (path,) = (tmp_path / "kept").rglob("images.npy")
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)
    again = pass_(digests, TEXTS[:3])
    assert (again.num_encoded, again.num_kept) == (5, 3)
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(again.images, first.images)
    assert pass_(digests, TEXTS[:3]).num_encoded == 0
