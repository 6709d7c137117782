"""The ingest benchmark measures what it says: same files, true repetitions and changes, parts that add up."""

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from benchmarks.ingest import report
from benchmarks.ingest.cpu_profile import REST, CpuProfile
from benchmarks.ingest.img2dataset import Img2dataset, Img2datasetRun, Img2datasetSettings, tune
from benchmarks.ingest.inputs import IngestInput, make_workspace, preset_dataset
from benchmarks.ingest.runs import run_decoding, run_ingest
from benchmarks.ingest.scale import measure_incremental, measure_memory
from benchmarks.ingest.speed import measure_ingest_speed
from benchmarks.ingest.variants import (
    ProductRow,
    RewrittenDataset,
    first_day_rows,
    next_day_rows,
    repeated_rows,
    with_comment,
)
from fclip.catalog.config import ImageConfig
from fclip.errors import UserError
from tests.benchmarks.small_kagl import NUM, picture


def pixels(image: bytes) -> bytes:
    with Image.open(io.BytesIO(image)) as picture:
        return picture.convert("RGB").tobytes()


def kagl(shop: Path) -> dict[str, object]:
    return preset_dataset("kagl", shop)


def rows_of(shop: Path, limit: int | None) -> list[ProductRow]:
    return list(RewrittenDataset.from_preset("kagl", kagl(shop), shop, limit).rows())


def test_a_repetition_has_the_same_pixels_in_other_bytes(shop: Path) -> None:
    rows = rows_of(shop, 20)
    again = list(repeated_rows(rows, 3))
    assert len(again) == len(rows) == 20
    for old, new in zip(rows, again, strict=True):
        assert new.image != old.image
        assert new.product_id != old.product_id
        assert pixels(new.image) == pixels(old.image)
        assert new.cells == old.cells


def test_a_comment_needs_a_jpeg() -> None:
    with pytest.raises(UserError, match="is not a JPEG"):
        with_comment(b"\x89PNG", b"x")


def test_the_next_day_has_a_hundredth_of_each_change(shop: Path) -> None:
    rows = [row for number in range(50) for row in repeated_rows(rows_of(shop, None), number)]
    first = {row.product_id: row.image for row in first_day_rows(rows)}
    second = {row.product_id: row.image for row in next_day_rows(rows)}
    new, gone = second.keys() - first.keys(), first.keys() - second.keys()
    changed = {name for name in first.keys() & second.keys() if first[name] != second[name]}
    for names in (new, gone, changed):
        assert 0.007 < len(names) / len(rows) < 0.013
    assert all(pixels(first[name]) != pixels(second[name]) for name in list(changed)[:5])
    fifths = {position * 5 // len(rows) for position, row in enumerate(rows) if row.product_id in new}
    assert fifths == set(range(5))  # scattered


def test_written_rows_are_read_back(shop: Path, tmp_path: Path) -> None:
    written = RewrittenDataset.from_preset("kagl", kagl(shop), tmp_path / "again", 30)
    assert written.write(written.rows(), "data.parquet") == 30
    again = RewrittenDataset.from_preset("kagl", written.config, tmp_path, None)
    assert list(again.rows()) == list(written.rows())


def test_parts_count_what_is_theirs_alone() -> None:
    parts = CpuProfile()

    def busy(seconds: float) -> None:
        until = time.thread_time() + seconds
        while time.thread_time() < until:
            pass

    inner = parts.timed(lambda: busy(0.04), "inner")

    def work() -> None:
        busy(0.02)
        inner()
        time.sleep(0.05)  # waiting is no work

    def steps():  # type: ignore[no-untyped-def]
        for _ in range(3):
            busy(0.01)
            yield

    before = time.process_time()
    parts.timed(work, "outer")()
    for _ in parts.timed(steps, "steps")():
        busy(0.01)
    found = parts.with_remainder(time.process_time() - before)
    assert found["inner"] == pytest.approx(0.04, abs=0.01)
    assert found["outer"] == pytest.approx(0.02, abs=0.01)
    assert found["steps"] == pytest.approx(0.03, abs=0.01)
    assert found[REST] == pytest.approx(0.03, abs=0.02)


def test_parts_of_an_ingest_add_up(shop: Path, tmp_path: Path) -> None:
    run = run_ingest(make_workspace(tmp_path, "kagl", kagl(shop)), "kagl", parts=True)
    assert run.num_rows == NUM
    assert sum(run.parts.values()) == pytest.approx(run.cpu_seconds)
    assert {"read rows", "decode", "resize", "encode", "write packs", "tables"} <= run.parts.keys()
    assert min(run.parts.values()) > -0.01
    assert run.parts[REST] < 0.5 * run.cpu_seconds
    assert run.whole_seconds > run.seconds + run.import_seconds
    assert run.peak_bytes > 30e6


def test_speed_without_the_peer_is_shown(shop: Path, tmp_path: Path) -> None:
    speed = measure_ingest_speed(
        "kagl", shop, kagl(shop), tmp_path / "work", 60, rounds=1, peer=None, show_progress=lambda line: None
    )
    assert speed.num_images == 60 == speed.files[0].num_rows == speed.shipped[0].num_rows
    assert speed.ratios == {}
    assert not (tmp_path / "work").exists()
    console = Console(record=True, width=120, file=io.StringIO())
    report.show_speed(console, "kagl", speed)
    assert f"{60 / speed.decoding['threads'][0]:.0f}" in console.export_text()
    peer = Img2datasetRun(
        whole_seconds=6 * speed.files[0].whole_seconds, seconds=3 * speed.files[0].seconds, num_images=60
    )
    against = replace(speed, peer=(peer,), settings=Img2datasetSettings("parquet", 2, 8, 2))
    assert against.ratios["files"] == pytest.approx(3)
    assert against.ratios["files, with start-up"] == pytest.approx(6)
    report.show_speed(console, "kagl", against)
    assert "files 3.00×" in console.export_text()


def test_memory_and_the_next_day_are_measured(shop: Path, tmp_path: Path) -> None:
    memory = measure_memory("kagl", kagl(shop), tmp_path / "memory", 50, repetitions=2)
    assert (memory.once.num_rows, memory.repeated.num_rows) == (50, 100)
    assert memory.repeated.num_images == 2 * memory.once.num_images
    found = measure_incremental("kagl", kagl(shop), tmp_path / "days", None, rounds=1)
    assert found.num_packs == 1
    assert found.old_packs_unchanged
    assert found.first[0].num_rows < NUM
    console = Console(record=True, width=160, file=io.StringIO())
    report.show_memory(console, "kagl", memory)
    report.show_incremental(console, "kagl", found)
    assert "old packs byte-identical" in console.export_text()


def test_decoding_reads_every_file(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(picture(1)[:-100])
    with pytest.raises(UserError, match="Premature end of JPEG file"):
        run_decoding(tmp_path, processes=False, convert_as=None)


def test_tuning_keeps_the_fastest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(
        peer: Img2dataset, given: IngestInput, output: Path, config: ImageConfig, settings: Img2datasetSettings
    ) -> Img2datasetRun:
        slow = (settings.output_format != "webdataset") + abs(settings.threads - 4) + abs(settings.processes - 4)
        return Img2datasetRun(9.0, 1.0 + slow + settings.shards_per_process, 10)

    monkeypatch.setattr(Img2dataset, "run", run)
    given = IngestInput("kagl", tmp_path, tmp_path, (), (), 10, 10)
    config = ImageConfig(stored_side=224, max_pixels=10**6, jpeg_quality=92)
    best = tune(Img2dataset(tmp_path), given, tmp_path, config, cores=2, show_progress=lambda line: None)
    assert best == Img2datasetSettings("webdataset", 4, 4, 1)
