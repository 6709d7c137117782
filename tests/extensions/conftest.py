"""A copy of the project with one new file of each kind, and one process that uses them all: imports take longest."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.extensions import (
    test_audit,
    test_averaging_method,
    test_base_model,
    test_protocol,
    test_selection_rule,
    test_shift,
    test_source,
)
from tests.tiny_shop import make_shop

# In this order: the first two also check that they import nothing heavy.
EXTENSIONS = {
    "base_model": test_base_model,
    "source": test_source,
    "shift": test_shift,
    "averaging_method": test_averaging_method,
    "selection_rule": test_selection_rule,
    "protocol": test_protocol,
    "audit": test_audit,
}
RUNNER = """
import json, os, sys
from pathlib import Path

import fclip

copy, sessions = Path(sys.argv[1]), json.loads(sys.argv[2])
assert Path(fclip.__file__).is_relative_to(copy), fclip.__file__
found = {}
for name, session in sessions.items():
    os.chdir(copy.parent / name)
    names = {}
    exec(compile(session, name, "exec"), names)
    found[name] = names["found"]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Extended:
    """What each session found, and the folder in which it ran."""

    folder: Path
    found: dict[str, dict[str, Any]]


@pytest.fixture(scope="session")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """Run `SESSION` of each module in the folder that its `prepare` writes. A session sets `found`."""
    folder = tmp_path_factory.mktemp("extended")
    ignored = shutil.ignore_patterns("__pycache__", "fclip_tiny_model")
    for name in ("fclip", "tasks", "flows"):
        shutil.copytree(REPOSITORY / name, folder / "copy" / name, ignore=ignored)
    shop = make_shop(folder / "shop")
    for name, module in EXTENSIONS.items():
        (folder / "copy" / module.NEW_FILE).write_text(module.TEXT)
        module.prepare(folder / name, shop)
    paths = os.pathsep.join([str(folder / "copy"), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": paths, "FCLIP_HOME": str(folder / "home")}
    sessions = json.dumps({name: module.SESSION for name, module in EXTENSIONS.items()})
    command = [sys.executable, "-c", RUNNER, str(folder / "copy"), sessions]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Extended(folder, json.loads(done.stdout.splitlines()[-1]))
