"""How a benchmark's command ends: in a JSON file, or in one line that says what is wrong."""

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from fclip.errors import UserError
from fclip.files import write_json

Measure = Callable[[argparse.Namespace, Console], dict[str, Any]]


def run_benchmark(parser: argparse.ArgumentParser, measure: Measure, console: Console) -> None:
    """Measure as the command line says, and write what was measured to `--out`, where it is given."""
    arguments = parser.parse_args()
    try:
        results = measure(arguments, console)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    if arguments.out:
        write_json(arguments.out, results)
