"""A new protocol needs one new file in fclip/evaluation/protocols and no other edit."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/evaluation/protocols/own_caption.py"
TEXT = '''
"""Each image against the caption of its own product and the caption of the next product."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fclip.config import config
from fclip.evaluation.catalog import Catalog
from fclip.evaluation.metrics import Metric
from fclip.evaluation.outcomes import MeanOutcome
from fclip.evaluation.protocols.registry import ProtocolDeclaration
from fclip.evaluation.protocols.task import TaskOutcome
from fclip.features.similarity import FloatArray, unit


@config
class OwnCaptionConfig:
    kind: Literal["own-caption"]
    caption: str


@dataclass(frozen=True)
class OwnCaption:
    images: tuple[str, ...]
    texts: tuple[str, ...]
    items: tuple[str, ...]
    left_out: Mapping[str, int]

    def score(self, images: FloatArray, texts: FloatArray) -> dict[str, TaskOutcome]:
        own, other = ((unit(images) * unit(rows)).sum(axis=1) for rows in (texts, np.roll(texts, 1, axis=0)))
        values = {"own_first": (own > other).astype(np.float64), "angle": np.arccos(np.clip(own, -1, 1))}
        return {"": TaskOutcome(MeanOutcome(values, success="own_first"), self.items)}


def own_caption(config: OwnCaptionConfig, catalog: Catalog, split: str, max_items: int | None) -> OwnCaption:
    products = [each for each in catalog.products_in(split, max_items) if config.caption in each.captions]
    return OwnCaption(
        images=tuple(each.image for each in products),
        texts=tuple(each.captions[config.caption] for each in products),
        items=tuple(each.product_id for each in products),
        left_out={},
    )


PROTOCOL = ProtocolDeclaration(
    kind="own-caption",
    label="own caption",
    description="Whether an image is nearer to its own caption than to the caption of the next product.",
    config=OwnCaptionConfig,
    make_task=own_caption,
    metrics=(Metric("own_first", "own caption first"), Metric("angle", "angle to the caption", direction=-1)),
    primaries=("own_first",),
    headlines=("own_first",),
    reads_captions=lambda config: True,
)
'''

SESSION = """
from pathlib import Path

from fclip.config import parse_config
from fclip.errors import UserError
from fclip.evaluation.config import DatasetEvaluation
from fclip.evaluation.table import long_table
from fclip.report.comparison import write_comparison_page
from tasks.model_evaluation import score_models, dataset_comparison
from tasks.workspace.paths import Workspace

workspace, names = Workspace(Path.cwd()), ("base-model", "step-000010")


def refusal(kind, metric):
    protocols = {"titles": {"kind": kind, "caption": "title"}}
    values = {"primary": f"titles.{metric}", "max_items": None, "slices": [], "protocols": protocols}
    try:
        parse_config(values, DatasetEvaluation, where="params.yaml")
    except UserError as error:
        return str(error)


evaluation = score_models(workspace, {name: workspace.candidate(name) for name in names}, "studio")
compared = dataset_comparison(workspace, evaluation, *names)
write_comparison_page([compared], Path("page.html"))
found = {
    "refusals": [refusal("unknown", "own_first"), refusal("own-caption", "angle")],
    "rows": long_table(evaluation, {}).to_pylist(),
    "changes": [[each.split, each.protocol, each.metric] for each in compared.changes],
    "headlines": [f"{each.protocol}.{each.metric}" for each in compared.headlines],
}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    shutil.copytree(shop.root, folder)
    params: dict[str, Any] = yaml.safe_load(shop.params.read_text())
    params["evaluate"]["datasets"]["studio"] |= {
        "primary": "titles.own_first",
        "protocols": {"titles": {"kind": "own-caption", "caption": "title"}},
    }
    Workspace(folder).params.write_text(yaml.safe_dump(params))


def test_new_protocol_needs_one_new_file(extended: "Extended") -> None:
    found = extended.found["protocol"]
    unknown, not_primary = found["refusals"]
    assert "own-caption" in unknown.partition("`kind` must be one of")[2].partition("(got")[0]
    assert "primary must be one of titles.own_first" in not_primary
    rows = [row for row in found["rows"] if row["kind"] == "own-caption"]
    assert {(row["candidate"], row["split"], row["metric"], row["primary"]) for row in rows} == {
        (name, split, metric, metric == "own_first")
        for name in ("base-model", "step-000010")
        for split in ("val", "test")
        for metric in ("own_first", "angle")
    }
    assert all(0 <= row["value"] <= 1 for row in rows if row["metric"] == "own_first")
    assert ["test", "titles", "angle"] in found["changes"]
    assert "titles.own_first" in found["headlines"]
    assert "titles: angle to the caption" in (extended.folder / "protocol" / "page.html").read_text()
