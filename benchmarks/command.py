"""The common end of every benchmark command: write the results as JSON, or print a one-line error."""

import argparse
from collections.abc import Callable
from typing import Any

from rich.console import Console

from fclip.errors import UserError
from fclip.files import write_json

Measure = Callable[[argparse.Namespace, Console], dict[str, Any]]


def run_benchmark(parser: argparse.ArgumentParser, measure: Measure, console: Console) -> None:
    """Parse the command line, call `measure`, and write its results to `--out` if that option is given."""
    arguments = parser.parse_args()
    try:
        results = measure(arguments, console)
    except UserError as error:
        parser.exit(1, f"{error}\n")
    if arguments.out:
        write_json(arguments.out, results)
