"""Pin files: read as typed pins, written only if they changed, and refused if they are invalid."""

from pathlib import Path

import pytest

from fclip.base_models.pinning import BaseModelPin
from fclip.base_models.registry import Origin
from fclip.catalog.pin import SourcePin
from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.registry.versions import VersionPin
from tasks.base_model import AnyBaseModelPin, WarmStartPin, read_base_model_pin
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_champion, read_pin, write_pin

CHAMPION = VersionPin("fclip-test", 3, "c" * 64)
LOCAL = BaseModelPin("local", {"path": "mine"}, Origin({"folder": "f" * 64}), "a" * 64)
HUB = BaseModelPin(
    "transformers",
    {"model": "patrickjohncyh/fashion-clip", "revision": None},
    Origin({"config.json": "d" * 64}, revision="e" * 40),
    "b" * 64,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_empty_or_missing_file_is_an_empty_pin(workspace: Workspace) -> None:
    assert read_champion(workspace) is None
    assert not write_pin(workspace.champion_pin, None)
    write_json(workspace.champion_pin, {})
    assert read_champion(workspace) is None
    assert read_base_model_pin(workspace) is None


@pytest.mark.parametrize(
    ("pin", "title"),
    [
        (LOCAL, "local mine"),
        (HUB, "transformers patrickjohncyh/fashion-clip"),
        (WarmStartPin(None, None, LOCAL), "local mine"),
        (WarmStartPin(CHAMPION, None, HUB), "the pinned champion: version 3 of fclip-test"),
        (WarmStartPin(CHAMPION, "9" * 64, LOCAL), "the pinned champion: version 3 of fclip-test"),
    ],
)
def test_base_model_pin_round_trip(workspace: Workspace, pin: AnyBaseModelPin, title: str) -> None:
    assert write_pin(workspace.base_model_pin, pin)
    assert read_base_model_pin(workspace) == pin
    assert pin.title == title
    assert read_json(workspace.base_model_pin)["model_sha256"] == pin.model_sha256
    assert not write_pin(workspace.base_model_pin, pin)


def test_source_and_champion_pins_round_trip(workspace: Workspace) -> None:
    source = SourcePin("studio", {"num_rows": 3, "images": {"bytes": 1}})
    assert write_pin(workspace.source_pin("studio"), source)
    assert read_json(workspace.source_pin("studio")) == {"dataset": "studio", "num_rows": 3, "images": {"bytes": 1}}
    assert read_pin(workspace.source_pin("studio"), SourcePin.from_json) == source
    assert write_pin(workspace.champion_pin, CHAMPION)
    assert read_champion(workspace) == CHAMPION


@pytest.mark.parametrize(
    "content",
    [
        "half",
        "[]",
        "7",
        '{"registered_model": "fclip-test", "version": "3", "model_sha256": "c"}',
        '{"kind": "local", "model_sha256": "a"}',
        '{"kind": "champion", "model_sha256": "a"}',
        '{"kind": "champion", "champion": {"version": 3}, "otherwise": {}, "model_sha256": "a"}',
    ],
)
def test_invalid_pin_file_is_a_user_error(workspace: Workspace, content: str) -> None:
    for path, read in ((workspace.champion_pin, read_champion), (workspace.base_model_pin, read_base_model_pin)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        with pytest.raises(UserError, match=rf"{path.name} contains no valid pin .*run `fclip pin`"):
            read(workspace)
