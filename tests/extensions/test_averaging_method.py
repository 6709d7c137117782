"""A new averaging method needs one new file: params accept it, and its averages can be selected."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from fclip.averaging.registry import AverageConfig
from fclip.errors import UserError
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/averaging/tail.py"
TEXT = '''
"""The mean of the last checkpoints."""

from collections.abc import Sequence
from typing import Literal

from fclip.averaging.registry import AveragingContext, AveragingMethod, Recipe
from fclip.config import config
from fclip.models.candidates import Candidate


@config
class TailConfig:
    kind: Literal["tail"]
    number: int


def recipes(settings: TailConfig, candidates: Sequence[Candidate], context: AveragingContext) -> Sequence[Recipe]:
    last = [candidate.name for candidate in candidates if candidate.kind == "checkpoint"][-settings.number :]
    parents = {name: 1 / len(last) for name in last}
    (scores,) = context([parents])
    assert scores is not None
    assert set(scores) == {"studio.classification.acc1"}
    return [Recipe("tail", "tail", parents)]


TAIL = AveragingMethod(
    kind="tail",
    label="mean of the last checkpoints",
    description="The mean of the last checkpoints",
    config=TailConfig,
    recipes=recipes,
)
'''

SESSION = """
from pathlib import Path

from tasks.average import average
from tasks.evaluate import evaluate
from tasks.select import main
from tasks.selection_result import read_selection
from tasks.workspace.paths import Workspace

workspace = Workspace(Path.cwd())
average(workspace)
for dataset in ("studio", "street"):
    evaluate(workspace, dataset)
main(workspace)
found = {
    entry.name: [entry.candidate.kind, entry.candidate.step, dict(entry.candidate.parents), entry.eligible]
    for entry in read_selection(workspace).candidates
}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    shutil.copytree(shop.root, folder)
    params = yaml.safe_load(shop.params.read_text())
    params["average"] = {"methods": [{"kind": "tail", "number": 2}, {"kind": "interpolation", "shares": [0.5]}]}
    Workspace(folder).params.write_text(yaml.safe_dump(params))


def test_new_averaging_method_needs_one_new_file(extended: "Extended") -> None:
    with pytest.raises(UserError, match="`kind` must be one of interpolation, line-search, soup, tower-search"):
        load_section(Workspace(extended.folder / "averaging_method"), "average", AverageConfig)
    found = extended.found["averaging_method"]
    assert found["tail"] == ["tail", 20, {"step-000010": 0.5, "step-000020": 0.5}, True]
    parents = {"base-model": 0.5, "step-000010": 0.25, "step-000020": 0.25}
    assert found["tail-at-0.50"] == ["interpolated", 20, parents, True], "later methods average it too"
