"""`fclip audit`: the table, the summaries, JSON and the page, for models of a workspace."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Estimate
from flows.cli.__main__ import app
from tasks.hold_out import HoldOut
from tasks.new_values import NewValueScore
from tasks.workspace.paths import Workspace
from tests.small_audits import small_audits
from tests.tiny_shop import make_shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_shop(tmp_path_factory.mktemp("shop") / "shop")
    workspace.dvc_yaml.write_text("stages: {}\n")
    return workspace


@pytest.fixture(autouse=True)
def here(shop: Workspace, own_registry: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(shop.root)
    with small_audits():
        yield


def fclip(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["audit", *arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def test_audit_prints_numbers_summaries_and_what_was_not_measured(shop: Workspace) -> None:
    output = fclip("step-000020").output
    assert "audits of step-000020" in output
    rows = [line.split() for line in output.splitlines()]
    assert [row[-1] for row in rows if row[:3] == ["spread", "studio", "test"] and len(row) > 3] == ["failed"]
    assert "base-model" in output
    assert "The images differ." in output
    assert "Not measured: No product has a gender; add the attribute to the source." in output
    page = shop.audit_page("in-domain", "step-000020").read_text()
    assert "Audits of step-000020" in page
    assert page.count("<svg") == 2
    assert "<script" not in page


def test_audit_of_another_dataset_as_json(tmp_path: Path) -> None:
    done = fclip("step-000020", "street", "--json", "--out", str(tmp_path / "page.html"))
    results = json.loads(done.stdout)
    assert {(each["dataset"], each["split"]) for each in results} == {("street", "test")}
    assert [each["model"] for each in results] == ["base-model", "step-000020"] * 2
    assert [each["status"] for each in results] == ["failed", "failed", "not measured", "not measured"]
    assert (tmp_path / "page.html").is_file()


def test_audit_of_the_base_model_compares_it_with_no_other() -> None:
    output = fclip("base-model").output
    assert "audits of base-model" in output
    assert output.count("base-model") == 3  # the title, the column and the page


@pytest.mark.parametrize(("model", "columns"), [("base-model", 2), ("step-000020", 3)])
def test_new_types_of_the_base_model_have_no_column_twice(
    shop: Workspace, monkeypatch: pytest.MonkeyPatch, model: str, columns: int
) -> None:
    plan = HoldOut("types", "studio", "colour", ("red",), 10, 3, 40)
    estimate = Estimate(0.5, 0.25, 0.75, 0.1, np.zeros(2))
    compared: list[str] = []

    def measured(*arguments: object, **_: object) -> tuple[NewValueScore, ...]:
        models = arguments[3]
        assert isinstance(models, dict)
        compared.extend(models)
        return (NewValueScore("classification.acc1", 3, dict.fromkeys(models, estimate), estimate),)

    monkeypatch.setattr("tasks.hold_out.plan_hold_out", lambda *_: plan)
    monkeypatch.setattr("tasks.new_values.train_without", lambda *_: shop)
    monkeypatch.setattr("tasks.new_values.measure_new_values", measured)
    monkeypatch.setattr("tasks.base_model.find_base_model", lambda space: space.candidate("base-model"))
    output = " ".join(fclip(model, "--new", "types").output.split())
    assert "classification.acc1" in output
    assert compared == ["base-model", "without these types", f"{model} (has seen them)"][:columns]
    assert ("has seen" in output) == (columns == 3)


def test_faults_are_named() -> None:
    with pytest.raises(UserError, match="need a DATASET"):
        fclip("base-model", "--limit", "5")
    with pytest.raises(UserError, match="unknown dataset `moon`"):
        fclip("base-model", "moon")
    with pytest.raises(UserError, match="unknown model `nothing`"):
        fclip("nothing")
