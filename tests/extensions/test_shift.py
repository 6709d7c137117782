"""A new shift needs one new file: params accept it, and derived datasets are made with it."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from fclip.errors import UserError
from fclip.shifts.config import DeriveConfig
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace

if TYPE_CHECKING:
    from tests.extensions.conftest import Extended

NEW_FILE = "fclip/shifts/kinds/mirrored.py"
TEXT = '''
"""The same picture mirrored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fclip.config import config
from fclip.shifts.kinds.registry import ShiftKind

if TYPE_CHECKING:
    from PIL import Image


@config
class MirroredConfig:
    kind: Literal["mirrored"]


def mirrored(_: MirroredConfig, image: Image.Image, seed: str) -> bytes:
    from PIL import ImageOps

    from fclip.scenes.photographs import jpeg

    return jpeg(ImageOps.mirror(image), 92)


SHIFT = ShiftKind(
    kind="mirrored",
    label="mirrored",
    description="The picture is mirrored.",
    config=MirroredConfig,
    make=mirrored,
)
'''

SESSION = """
from pathlib import Path

from tasks.derive import derive
from tasks.selection_result import derived_data
from tasks.workspace.paths import Workspace

workspace = Workspace(Path.cwd())
derive(workspace, "studio-mirrored")
found = {data.dataset: [data.made_of, data.counts.made] for data in derived_data(workspace)}
"""


def prepare(folder: Path, shop: Workspace) -> None:
    shutil.copytree(shop.root, folder)
    params = yaml.safe_load(shop.params.read_text())
    params["derive"] = {"datasets": {"studio-mirrored": {"of": "studio", "shift": {"kind": "mirrored"}}}}
    Workspace(folder).params.write_text(yaml.safe_dump(params))


def test_new_shift_needs_one_new_file(extended: "Extended") -> None:
    with pytest.raises(UserError, match="`kind` must be one of camera, scene, thumbnail"):
        load_section(Workspace(extended.folder / "shift"), "derive", DeriveConfig)
    assert extended.found["shift"] == {"studio-mirrored": ["studio, mirrored", 12]}
