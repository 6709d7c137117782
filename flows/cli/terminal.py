"""The consoles of the commands."""

import os
import sys

from rich.console import Console

console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "120")))
errors = Console(stderr=True, highlight=False)
