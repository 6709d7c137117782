"""A new selection rule needs one new file: params accept it, it selects, and the report shows it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from fclip.errors import UserError
from fclip.selection.config import SelectConfig
from tasks.evaluate import evaluate
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/selection/rules/first.py"
TEXT = '''
"""A rule that takes the first checkpoint."""

import numpy as np

from fclip.selection.candidates import Floats, Pool
from fclip.selection.rules.registry import Rule


def first(pool: Pool) -> Floats:
    """Minus the training step; −inf for the base model and for averages."""
    return np.where(pool.steps > 0, -pool.steps, -np.inf)


FIRST = Rule(
    kind="first",
    label="first checkpoint",
    description="The checkpoint with the fewest updates",
    score=first,
    needs_steps=True,
)
'''

SESSION = """
from pathlib import Path
from dataclasses import replace

from fclip.report.build import render_report
from fclip.report.description import version_description
from tasks.select import main
from tasks.selection_result import read_selection
from tasks.workspace.paths import Workspace
from tests.fclip.report.test_report import made_up

workspace = Workspace(Path.cwd())
main(workspace)
selection = read_selection(workspace)
inputs = made_up()
choices = {**inputs.selection.choices, "first": "base-model"}
inputs = replace(inputs, selection=replace(inputs.selection, choices=choices))
found = {
    "winner": selection.winner,
    "reason": selection.reason,
    "choices": dict(selection.choices),
    "card": version_description(inputs.selection, inputs.scores),
    "report": render_report(inputs),
}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    shutil.copytree(shop.root, folder)
    space = Workspace(folder)
    for dataset in ("studio", "street"):
        evaluate(space, dataset)
    params = yaml.safe_load(space.params.read_text())
    params["select"]["rule"] = "first"
    space.params.write_text(yaml.safe_dump(params))


def test_new_selection_rule_needs_one_new_file(extended: "Extended") -> None:
    with pytest.raises(UserError, match=r"rule must be one of nearest_to_base, .*, not `first`"):
        load_section(Workspace(extended.folder / "selection_rule"), "select", SelectConfig)
    found = extended.found["selection_rule"]
    assert found["winner"] == found["choices"]["first"] == "step-000010"
    assert found["choices"]["last"] == "step-000020"
    assert found["reason"].startswith("best eligible candidate by first checkpoint (score -10.000)")
    assert "| first checkpoint | base-model |" in found["card"]
    assert "The checkpoint with the fewest updates" in found["report"]
