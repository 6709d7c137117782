"""A copy of the project with one new file, and a Python process that uses it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY

CHECK = """
import json, sys
from pathlib import Path

import fclip

assert Path(fclip.__file__).is_relative_to(Path.cwd()), fclip.__file__
"""


def run_in_copy(folder: Path, new_file: str, text: str, session: str, *arguments: Path) -> dict[str, Any]:
    """Copy fclip/ and tasks/ to `folder`, add `new_file`, and run `session` there; return the JSON that it prints."""
    for name in ("fclip", "tasks"):
        shutil.copytree(
            REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "fclip_tiny_model")
        )
    (folder / new_file).write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}
    command = [sys.executable, "-c", CHECK + session, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
