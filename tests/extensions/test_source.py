"""A new kind of source needs one new file: in a copy of the project, it works from its declaration."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import yaml

from tasks.workspace.paths import Workspace
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/catalog/sources/notes.py"
TEXT = '''
"""A text file with a product a line, `id colour`, and a picture drawn from its number."""

import io
from collections.abc import Iterator
from typing import Literal

from fclip.catalog.reading.files import describe_file, require_file
from fclip.catalog.rows import RefusedRow, Refusal, SourceRow, sampled_rows
from fclip.catalog.sources.registry import SourceKind
from fclip.config import config
from fclip.mirror.source_access import SourceAccess


@config
class NotesSource:
    kind: Literal["notes"]
    notes: str


def _lines(source: NotesSource, access: SourceAccess) -> list[str]:
    return require_file(access.root / source.notes).read_text().splitlines()


def describe(source: NotesSource, access: SourceAccess) -> dict[str, object]:
    file = describe_file(require_file(access.root / source.notes))
    return {"kind": source.kind, "file": file, "num_rows": len(_lines(source, access))}


def read(source: NotesSource, access: SourceAccess, limit: int | None) -> Iterator[SourceRow | RefusedRow]:
    import numpy as np
    from PIL import Image

    lines = _lines(source, access)
    for row, line in sampled_rows(lines, len(lines), limit, source.notes):
        if " " not in line:
            yield RefusedRow(row, None, Refusal("read", "no colour", line))
            continue
        name, colour = line.split()
        file = io.BytesIO()
        tiles = np.random.default_rng(row).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(tiles).resize((32, 32), Image.Resampling.NEAREST).save(file, "PNG")
        yield SourceRow(row, name, {"colour": colour}, {"title": f"{colour} coat {name}"}, (file.getvalue(),))


NOTES = SourceKind(
    kind="notes",
    label="notes",
    description="A text file with a product a line.",
    config=NotesSource,
    describe=describe,
    read=read,
    path_fields=("notes",),
)
'''

SESSION = """
import sys
from pathlib import Path

import yaml

from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import current_pin
from fclip.errors import UserError
from tasks.workspace.params import load_section, parse
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import write_pin

workspace = Workspace(Path.cwd())
config = load_section(workspace, "ingest", IngestConfig)

from flows.cli.dry_run import dry_run_params
from tasks.ingest import ingest
from tasks.workspace.sources import source_access

pin = current_pin("mine", config.datasets["mine"], source_access(workspace, config, "mine", refresh=True))
write_pin(workspace.source_pin("mine"), pin)
summary = ingest(workspace, "mine")

values = yaml.safe_load(workspace.params.read_text())
moved = dry_run_params(values, workspace.root)["ingest"]["datasets"]["mine"]["source"]
(workspace.root / "notes.txt").write_text("a red")
refusals = []
values["ingest"]["datasets"]["mine"]["source"]["kind"] = "nots"
for attempt in (lambda: ingest(workspace, "mine"), lambda: parse("ingest", values["ingest"], IngestConfig)):
    try:
        attempt()
    except UserError as error:
        refusals.append(str(error))
draws = any(name.startswith("fclip.sample") for name in sys.modules)
found = {"lines": list(summary.lines()), "moved": moved, "refusals": refusals, "draws": draws}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    folder.mkdir()
    (folder / "notes.txt").write_text("".join(f"p{number} red\n" for number in range(50)) + "broken\n")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    dataset = {
        "source": {"kind": "notes", "notes": "notes.txt"},
        "split": {"train": 0.6, "val": 0.2, "test": 0.2},
        "roles": {"train": "train", "val": "select", "test": "report"},
    }
    params["ingest"] = {"settings": {}, "datasets": {"mine": dataset}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def test_new_source_needs_one_new_file(extended: "Extended") -> None:
    folder, found = extended.folder / "source", extended.found["source"]
    pin = json.loads((folder / "pins" / "sources" / "mine.json").read_text())
    assert (pin["dataset"], pin["kind"], pin["num_rows"]) == ("mine", "notes", 51)
    counts = json.loads((folder / "data" / "catalog" / "mine" / "ingest.json").read_text())
    assert (counts["num_rows"], counts["num_products"]) == (51, 50)
    assert counts["refused_by_reason"] == {"no colour": 1}
    assert "mine: 51 rows: 50 products" in found["lines"][0]
    products = pq.read_table(folder / "data" / "catalog" / "mine" / "products.parquet")
    assert set(products["product_id"].to_pylist()) == {f"p{number}" for number in range(50)}
    assert found["moved"] == {"kind": "notes", "notes": str(folder / "notes.txt")}
    assert not found["draws"]
    changed, unknown = found["refusals"]
    assert "changed since it was pinned" in changed
    assert "notes" in unknown.split("must be one of ")[1]
