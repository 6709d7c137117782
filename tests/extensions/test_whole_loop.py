"""One new file of each kind: a copy of the project runs the whole pipeline with them, and the report shows them."""

from pathlib import Path

import pytest

from fclip.models.candidates import read_candidates
from fclip.selection.result import read_selection
from tests.conftest import make_space, tiny_params
from tests.extensions.conftest import EXTENSIONS


@pytest.mark.slow
def test_run_uses_one_new_extension_of_each_kind(tmp_path: Path) -> None:
    params = tiny_params(tmp_path)
    params["ingest"]["datasets"]["mine"] = {
        "source": {"kind": "notes", "notes": "notes.txt"},
        "split": {"val": 0.5, "test": 0.5},
        "roles": {"val": "select", "test": "report"},
    }
    params["caption"]["datasets"]["mine"] = {**params["caption"]["datasets"]["studio"], "head": "colour"}
    params["evaluate"]["datasets"]["mine"] = {
        "primary": "titles.own_first",
        "max_items": None,
        "slices": [],
        "protocols": {"titles": {"kind": "own-caption", "caption": "title"}},
    }
    params["finetune"]["base_model"] = {"kind": "mine", "seed": 3}
    params["average"] = {"methods": [{"kind": "tail", "number": 2}]}
    params["select"]["rule"] = "first"
    space = make_space(tmp_path / "space", params, tmp_path / "home")
    for module in EXTENSIONS.values():
        (space.root / module.NEW_FILE).write_text(module.TEXT)
    (space.root / "notes.txt").write_text("".join(f"p{number} red\n" for number in range(60)))

    finished = space.run("fclip", "retrain", timeout=900)
    assert finished.code == 0, finished.output

    assert space.json("pins/base_model.json")["kind"] == "mine"
    kinds = {candidate.kind for candidate in read_candidates(space.root / "models" / "average" / "candidates.json")}
    assert kinds == {"base", "checkpoint", "tail"}
    selection = read_selection(space.root / "reports" / "selection.json")
    assert selection.winner == selection.choices["first"]
    assert space.json("reports/metrics.json")["selected"]["mine"].keys() == {"select", "report"}
    report = (space.root / "reports" / "report.html").read_text()
    for shown in ("notes", "mine 3", "own caption first", "The checkpoint with the fewest updates"):
        assert shown in report, shown
    assert "tail" in report
