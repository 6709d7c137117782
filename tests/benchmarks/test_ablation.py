"""Variants of the recipe are sections `finetune` that params could hold."""

import pytest
import yaml

from benchmarks.ablation.__main__ import ROWS, apply_changes
from benchmarks.paths import PRESET
from benchmarks.train.fclip_training import preset_config
from fclip.errors import UserError
from tasks.workspace.params import read_params

SECTION = read_params(PRESET)["finetune"]
CHANGES = yaml.safe_load(ROWS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_is_a_section_that_differs(name: str) -> None:
    assert (apply_changes(SECTION, CHANGES[name]) == preset_config()) == (name == "preset unchanged")


def test_paths_lead_into_the_section() -> None:
    config = apply_changes(SECTION, {"augment.invert": 0.5, "base_model.resize_mode": "squash", "epochs": 1})
    assert (config.augment.invert, config.epochs) == (0.5, 1)
    assert config.augment.flip == preset_config().augment.flip
    with pytest.raises(UserError, match=r"finetune.augment.invrt"):
        apply_changes(SECTION, {"augment.invrt": 0.5})
