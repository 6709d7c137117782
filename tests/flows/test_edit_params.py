"""A value is changed in params.yaml, and every other byte stays."""

from pathlib import Path

import pytest
import yaml

from fclip.errors import UserError
from flows.edit_params import set_param


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("select: {}\n", "select: {prefer: catalog}\n"),
        ("select: {rule: last}  # why\nb: 1\n", "select: {prefer: catalog, rule: last}  # why\nb: 1\n"),
        ("select: {prefer: balanced, rule: last}\n", "select: {prefer: catalog, rule: last}\n"),
        ("select:\n  # why\n  rule: last\n", "select:\n  # why\n  prefer: catalog\n  rule: last\n"),
        ("select:\n    prefer: 'balanced'  # mine\n", "select:\n    prefer: catalog  # mine\n"),
        ("select:\nb: {select: {}}\n", "select: {prefer: catalog}\nb: {select: {}}\n"),
    ],
)
def test_only_the_value_changes(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(before)
    assert set_param(path, "select", "prefer", "catalog")
    assert path.read_text() == after
    assert not set_param(path, "select", "prefer", "catalog"), "it has the value already"
    assert path.read_text() == after
    assert yaml.safe_load(after)["select"]["prefer"] == "catalog"


@pytest.mark.parametrize(
    "text", ["a: &shared {rule: last}\nselect: *shared\n", "select: &own {rule: last}\nb: *own\n", "b: 1\n"]
)
def test_what_cannot_be_changed_alone_is_an_error_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="set it to catalog in the file"):
        set_param(path, "select", "prefer", "catalog")
    assert path.read_text() == text


def test_a_mapping_is_written_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("finetune:\n  distillation: null  # why\n  epochs: 3\n")
    value = {"teacher": "lärge.parquet", "weight": 1e-05}
    assert set_param(path, "finetune", "distillation", value)
    assert path.read_text() == (
        "finetune:\n  distillation: {teacher: lärge.parquet, weight: 1.0e-05}  # why\n  epochs: 3\n"
    )
    assert not set_param(path, "finetune", "distillation", value)
