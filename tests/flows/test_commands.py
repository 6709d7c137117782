"""The list of commands, and that help and small commands import nothing slow."""

import re
import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from flows.cli.__main__ import app
from flows.cli.commands import COMMANDS, load_command
from tests.conftest import REPOSITORY

SLOW = {"dvc", "matplotlib", "mlflow", "numpy", "open_clip", "pandas", "PIL", "prefect", "pyarrow", "pydantic"}
SLOW |= {"scipy", "torch", "transformers"}


def test_help_lists_every_command_on_one_line() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    for name, entry in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(entry.help)}$", shown, re.MULTILINE), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_loaded_and_says_what_it_does(name: str) -> None:
    assert load_command(name).help
    assert hasattr(import_module(f"flows.cli.{COMMANDS[name].module}"), COMMANDS[name].attribute)


def test_an_unknown_command_names_the_nearest() -> None:
    result = CliRunner().invoke(app, ["retrian"])
    assert result.exit_code == 2
    assert "Did you mean 'retrain'?" in result.output


def test_help_of_all_commands_imports_nothing_slow() -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from flows.cli.__main__ import app
for arguments in ([], *([name] for name in {list(COMMANDS)})):
    assert CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0, arguments
print(*({SLOW} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
