"""`fclip compact`: delete the images of deleted products from the workspace and the DVC cache."""

import hashlib
from pathlib import Path

import pytest

from fclip.images.packs import ImagePacks
from tests.conftest import Space


def dvc_cache(space: Space, md5: str) -> Path:
    return space.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


@pytest.mark.slow
def test_compact_deletes_the_images_of_deleted_products(retrained: Space, tmp_path: Path) -> None:
    space = retrained.copy(tmp_path / "space")
    images = space.root / "data" / "images" / "street"
    before = ImagePacks([images])
    packs = {pack: hashlib.md5(pack.read_bytes()).hexdigest() for pack in images.iterdir()}
    assert all(dvc_cache(space, md5).exists() for md5 in packs.values())
    space.set_params(lambda params: params["ingest"]["datasets"]["street"]["source"].update(num_products=55))
    refused = space.run("fclip", "compact", "street")
    assert refused.code == 1
    assert "the source of `street` changed since it was pinned" in refused.output
    assert space.run("fclip", "pin").code == 0
    done = space.run("fclip", "compact", "street")
    assert done.code == 0, done.output
    after = ImagePacks([images])
    gone = len(before) - len(after)
    assert gone >= 5
    assert f"street: deleted {gone} images that no product uses; replaced 1 packs and deleted 1 of them" in done.output
    assert "dvc gc --workspace --cloud" in done.output
    assert not any(pack.exists() or dvc_cache(space, md5).exists() for pack, md5 in packs.items())
    assert not [path for path in (space.root / "cache").rglob("pack-*") if path.name in {pack.name for pack in packs}]
    status = space.run("dvc", "status", "ingest@street")
    assert "up to date" in status.output, status.output
    again = space.run("fclip", "compact")
    assert again.code == 0, again.output
    assert "street: every image belongs to a product; nothing to do" in again.output
    assert "studio: every image belongs to a product; nothing to do" in again.output
    unknown = space.run("fclip", "compact", "streets")
    assert unknown.code == 1
    assert "ingest.datasets of params.yaml: no dataset `streets`; it has studio, street" in unknown.output
