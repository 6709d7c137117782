"""Ingest a shop under audit: no file outside its folders is opened, and the counts of the catalog add up."""

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pyarrow.parquet as pq
import scipy.sparse.csgraph  # noqa: F401 (the ingest imports it when it needs it, which the audit would notice)
from PIL import Image

from fclip.catalog.build import build_catalog
from fclip.catalog.config import DatasetConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.sources.registry import SourceConfig, describe
from fclip.errors import UserError, printable
from fclip.files import read_json
from fclip.images.packs import ImagePacks
from fclip.mirror.source_access import SourceAccess
from tests.fclip.catalog.catalog_shop import LOCAL, Built, Shop, ingest_config
from tests.fclip.catalog.hostile import CANARY
from tests.fclip.catalog.hostile_images import MAX_PIXELS

PATH_EVENTS = {"open", "os.scandir", "os.listdir"}  # audit events whose first argument is a path
PROCESS_EVENTS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}
ALLOWED = [Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[3], Path("/usr/share/zoneinfo")]
_audits: list[tuple[list[Path], list[str]]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if not _audits or (event not in PATH_EVENTS and event not in PROCESS_EVENTS):
        return
    allowed, violations = _audits[-1]
    if event in PROCESS_EVENTS:
        violations.append(f"{event} {arguments[0]!r}")
    elif isinstance(arguments[0], str | bytes | os.PathLike):
        path = Path(os.path.realpath(os.fsdecode(arguments[0])))
        if not any(path.is_relative_to(folder) for folder in allowed):
            violations.append(f"{event} {path}")


sys.addaudithook(_audit)  # a hook cannot be removed


@contextmanager
def nothing_read_outside(*folders: Path) -> Iterator[None]:
    """Fail if a path outside `folders` and Python's installation is opened or listed, or a process is started."""
    violations: list[str] = []
    _audits.append(([*(Path(os.path.realpath(folder)) for folder in folders), *ALLOWED], violations))
    try:
        yield
    finally:
        _audits.pop()
    assert not violations, violations


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fail if the block takes longer than `seconds`."""

    def stop(*_: object) -> NoReturn:
        raise AssertionError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ingest(
    shop: Shop, source: SourceConfig, *, cache_dir: Path | None = None, max_refused_fraction: float = 1.0
) -> Built | UserError:
    """Describe and ingest a source under audit. Check the result: a whole catalog, or an error and no files."""
    shutil.rmtree(shop.root / "out", ignore_errors=True)
    dataset = DatasetConfig(source=source, split={"train": 0.5, "val": 0.25, "test": 0.25}, roles={})
    config = ingest_config(dataset, max_refused_fraction=max_refused_fraction)
    image = replace(config.settings.image, max_pixels=MAX_PIXELS)
    config = replace(config, settings=replace(config.settings, image=image))
    access = SourceAccess(shop.root, shop.root / "mirror", LOCAL)
    inside = [shop.images, shop.root / "shop" / "hub", *(shop.root / name for name in ("out", "mirror", "cache"))]
    table = [shop.root / source.path] if source.kind in ("table", "hub") else []
    try:
        with nothing_read_outside(*inside, *table, shop.root / "out"), within(30):
            summary = build_catalog(
                config,
                dataset="shop",
                access=access,
                pin=SourcePin("shop", describe(source, access)),
                catalog_dir=shop.root / "out" / "catalog",
                images_dir=shop.root / "out" / "images",
                cache_dir=cache_dir,
            )
    except UserError as error:
        check_message(str(error))
        assert not list((shop.root / "out").rglob("*"))
        return error
    built = Built(shop.root, summary)
    check(built)
    return built


def outcome(shop: Shop, name: str, content: bytes, **change: Any) -> dict[str, int] | str:
    """Return the refused rows by reason, or the error message."""
    (shop.root / "shop" / name).write_bytes(content)
    result = ingest(shop, shop.source(name, **change))
    return dict(result.summary.refused_by_reason) if isinstance(result, Built) else str(result)


def check_message(message: str) -> None:
    """Check that an error message is printable, whatever hostile text it quotes."""
    assert message == printable(message)
    assert 20 < len(message) < 10_000
    message.encode()


def check(built: Built) -> None:
    """Check that the counts add up, that every picture is valid, and that no canary content is in the output."""
    counts = built.summary
    assert read_json(built.catalog / "ingest.json") == counts.to_json()
    assert counts.num_rows == counts.num_products + counts.num_refused
    assert counts.num_products == len(built.products) == sum(counts.splits.values()) > 0
    assert counts.num_refused == len(built.refused) == sum(counts.refused_by_reason.values())
    rows = [row["source_row"] for row in built.refused]
    assert rows == sorted(set(rows))
    assert not rows or (rows[0] >= 0 and rows[-1] < counts.num_rows)
    for row in built.refused:
        assert row["stage"] in ("read", "validate", "decode", "exclude", "split")
        assert counts.refused_by_reason[row["reason"]] > 0
        assert row["detail"] or row["reason"] in ("empty product_id", "no image")
        json.loads(row["row"], parse_constant=_no_json)
        assert len(row["row"]) < 100_000
    ids = [row["product_id"] for row in built.products]
    assert ids == sorted(set(ids))
    assert all(0 < len(each) <= 256 for each in ids)
    packs = ImagePacks([built.images])
    shown = list(dict.fromkeys(image for row in built.products for image in row["images"]))
    assert len(shown) == counts.num_images
    for content in packs.read_many(shown):
        with Image.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as image:
            image.load()
            assert min(image.size) <= 64
            assert max(image.size) <= 20 * min(image.size)
            assert len(content) <= 4 * image.width * image.height + 65_536
    splits: dict[str, set[str]] = {}
    for row in built.products:
        assert row["images"]
        assert all(text and len(text) <= 1000 for _, text in [*row["texts"], *row["attributes"]])
        for image in row["images"]:
            splits.setdefault(image, set()).add(row["split"])
    assert all(len(each) == 1 for each in splits.values())
    repaired = pq.read_table(built.catalog / "repairs.parquet")["product_id"].to_pylist()
    assert set(repaired) <= set(ids)
    assert sum(counts.repaired.values()) == len(repaired)
    for path in built.catalog.parent.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_bytes()


def _no_json(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")
