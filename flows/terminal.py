"""Where commands print, and the workspace that they work on."""

import os
import sys
from pathlib import Path

from rich.console import Console

from flows.workspaces import find_workspace
from tasks.paths import Workspace

console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120")))
errors = Console(stderr=True, highlight=False)


def workspace_here() -> Workspace:
    """The workspace of the current folder."""
    return find_workspace(Path.cwd())
