"""A new audit needs one new file: params accept its limit, and the stage, the report and the model card have it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from fclip.audits.config import AuditConfig
from fclip.errors import UserError
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/audits/kinds/titles.py"
TEXT = '''
"""An audit that asks whether equal titles have equal features."""

from dataclasses import dataclass

import numpy as np

from fclip.audits.data import AuditData, PlanFeatures
from fclip.audits.registry import Audit, Findings, NotMeasurable
from fclip.audits.result import Measure


@dataclass(frozen=True)
class TitlePlan:
    """The titles, each twice: as it is and in upper case."""

    images: tuple[str, ...]
    texts: tuple[str, ...]

    def measure(self, model: PlanFeatures, base: PlanFeatures | None) -> Findings:
        plain, upper = model.texts[::2], model.texts[1::2]
        change = float(np.abs(plain - upper).mean())
        headline = Measure("change", "mean change of a feature", change, change, change, len(plain))
        return Findings(headline, (), "Upper case changes nothing." if change == 0 else "Upper case changes texts.")


def plan(data: AuditData) -> TitlePlan | NotMeasurable:
    titles = [product.captions["title"] for product in data.products if "title" in product.captions]
    if not titles:
        return NotMeasurable("No product has a title; add a template to caption.datasets.")
    return TitlePlan((), tuple(text for title in titles for text in (title, title.upper())))


TITLES = Audit(
    kind="titles",
    label="upper case",
    description="How much titles in upper case differ from the same titles as they are",
    question="Does it matter whether customers type in upper case?",
    limit=0.01,
    plan=plan,
)
'''

SESSION = """
from dataclasses import asdict, replace
from pathlib import Path

from fclip.audits.result import read_audits
from fclip.report.build import render_report
from fclip.report.card import model_card
from tasks.audit import main
from tasks.workspace.paths import Workspace
from tests.fclip.report.test_card import made_up_facts
from tests.fclip.report.test_report import made_up

workspace = Workspace(Path.cwd())
main(workspace)
audits = tuple(result for result in read_audits(workspace.audits) if result.kind == "titles")
found = {
    "results": [asdict(result) for result in audits],
    "card": model_card(replace(made_up_facts(), audits=audits)),
    "report": render_report(replace(made_up(), audits=audits)),
}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    shutil.copytree(shop.root, folder)
    space = Workspace(folder)
    shutil.copytree(space.candidate("step-000020"), space.selected)
    params = yaml.safe_load(space.params.read_text())
    params["audit"] = {"limits": {"titles": 0.5}}
    space.params.write_text(yaml.safe_dump(params))


def test_new_audit_needs_one_new_file(extended: "Extended") -> None:
    with pytest.raises(UserError, match="unknown audit titles"):
        load_section(Workspace(extended.folder / "audit"), "audit", AuditConfig)
    found = extended.found["audit"]
    assert [(each["model"], each["limit"]) for each in found["results"]] == [("base-model", 0.5), ("selected", 0.5)]
    for each in found["results"]:
        assert each["headline"]["value"] == 0  # the tokenizer writes in lower case
        assert each["summary"] == "Upper case changes nothing."
    assert "### Upper case: studio, test" in found["card"]
    assert "Does it matter whether customers type in upper case?" in found["report"]
