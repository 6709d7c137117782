"""Small sources on disk, and a catalog built from one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import SourceConfig, describe
from fclip.mirror.config import DownloadConfig
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import LOCAL, Built, Shop, ingest_config
from tests.fclip.mirror.conftest import web  # noqa: F401


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def full_shop(shop: Shop) -> Shop:
    """Sixty good products."""
    shop.write_images(60)
    rows = [f"p{index},Red coat no {index},red,{index}.jpg" for index in range(60)]
    shop.write_csv(["id,title,colour,image", *rows])
    return shop


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Built]:
    def run(
        source: SourceConfig,
        *,
        split: dict[str, float] | None = None,
        roles: dict[str, str] | None = None,
        limit: int | None = None,
        root: Path = tmp_path,
        download: DownloadConfig = LOCAL,
        cache_dir: Path | None = None,
        max_refused_fraction: float = 1.0,
        **change: Any,
    ) -> Built:
        default = {} if source.kind == "fmnist" else {"train": 0.6, "val": 0.2, "test": 0.2}
        dataset = DatasetConfig(source=source, split=default if split is None else split, roles=roles or {}, **change)
        access = SourceAccess(root, tmp_path / "mirror", download, refresh=False, limit=limit)
        summary = build_catalog(
            ingest_config(dataset, limit=limit, max_refused_fraction=max_refused_fraction),
            dataset="shop",
            access=access,
            pin=SourcePin("shop", describe(source, access)),
            catalog_dir=tmp_path / "out" / "catalog",
            images_dir=tmp_path / "out" / "images",
            cache_dir=cache_dir,
        )
        return Built(tmp_path, summary)

    return run
