"""A new selection rule needs one new file: params accept it, it selects, and the report shows it."""

from pathlib import Path

import pytest
import yaml

from fclip.errors import UserError
from fclip.selection.config import SelectConfig
from tasks.evaluate import evaluate
from tasks.workspace.params import load_section
from tests.extensions.selection_project import run_in_copy
from tests.tiny_shop import make_shop

FIRST = '''
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
from dataclasses import replace

from fclip.report.build import render_report
from fclip.report.card import model_card
from tasks.select import main
from tasks.selection_result import read_selection
from tasks.workspace.paths import Workspace
from tests.fclip.report.test_report import made_up

workspace = Workspace(Path(sys.argv[1]))
main(workspace)
selection = read_selection(workspace)
inputs = made_up()
choices = {**inputs.selection.choices, "first": "base-model"}
inputs = replace(inputs, selection=replace(inputs.selection, choices=choices))
print(json.dumps({
    "winner": selection.winner,
    "reason": selection.reason,
    "choices": dict(selection.choices),
    "card": model_card(inputs.selection, inputs.scores),
    "report": render_report(inputs),
}))
"""


def test_new_selection_rule_needs_one_new_file(tmp_path: Path) -> None:
    shop = make_shop(tmp_path / "shop")
    for dataset in ("studio", "street"):
        evaluate(shop, dataset)
    params = yaml.safe_load(shop.params.read_text())
    params["select"]["rule"] = "first"
    shop.params.write_text(yaml.safe_dump(params))
    with pytest.raises(UserError, match=r"rule must be one of mean_normalised_gain, .*, not `first`"):
        load_section(shop, "select", SelectConfig)

    copy = tmp_path / "copy"
    found = run_in_copy(copy, "fclip/selection/rules/first.py", FIRST, SESSION, shop.root)
    assert found["winner"] == found["choices"]["first"] == "step-000010"
    assert found["choices"]["last"] == "step-000020"
    assert found["reason"].startswith("best eligible candidate by first checkpoint (score -10.000)")
    assert "| first checkpoint | base-model |" in found["card"]
    assert "The checkpoint with the fewest updates" in found["report"]
