"""`fclip params` prints the effective configuration, and explains one setting."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.cli import params as command
from flows.cli.__main__ import app
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(command, "console", Console(width=120))


def printed(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["params", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output.splitlines()


def test_every_setting_is_a_line_with_a_mark_unless_it_is_the_default() -> None:
    lines = printed()
    assert "• base.registered_model: fclip-sample  # Name of the model in the registry" in lines
    assert "  finetune.learning_rate: 3.0e-4  # Highest learning rate, after the warm-up" in lines
    assert "• evaluate.datasets.street.max_items: 350  # Largest number of products of each split" in lines


def test_a_section_and_what_is_changed_in_it() -> None:
    assert all(line[2:].startswith("finetune.") for line in printed("finetune"))
    assert [line.partition(":")[0] for line in printed("finetune", "--changed")] == ["• finetune.base_model.kind"]


def test_one_setting_is_explained() -> None:
    text = "\n".join(printed("finetune.trainable"))
    for part in (
        "value: image_tower (the default)",
        "`heads`, `image_only`, `image_tower`, `text_tower` or `all`",
        "fclip/training/config.py",
        "a change reruns: finetune,",
    ):
        assert part in text
    assert "value: 350 (from params.yaml)" in "\n".join(printed("evaluate.datasets.street.max_items"))
    assert "value: not set" in "\n".join(printed("finetune.replay.share"))
    assert "if `kind` is table: Separator" in "\n".join(printed("ingest.datasets.studio.source.image_separator"))


@pytest.mark.parametrize("width", [80, 160])
def test_in_a_terminal_no_line_is_too_wide(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=width, force_terminal=True, color_system=None, record=True)
    monkeypatch.setattr(command, "console", console)
    printed()
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert "evaluate.datasets.studio.protocols.classification" in lines
    assert [line for line in lines if line.startswith("• max_items")]
