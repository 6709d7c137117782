"""The entry point of `fclip`: it handles the errors of the commands (flows/cli/commands.py).

Every command works on the workspace of the current folder and runs the code of that workspace.
"""

import os
import sys
from typing import Annotated

import typer

from fclip.errors import UserError
from flows.cli.commands import LazyCommands, new_app
from flows.cli.here import enter_workspace

app = new_app(
    cls=LazyCommands,
    no_args_is_help=True,
    help="""Retrain CLIP on a product catalog, and promote a new model only if it is significantly better.

    The champion is the registered model in use. A new model replaces it only if it passes the gate, a test for
    significant gains.

    First run: `fclip retrain`, then `fclip status` and `fclip search "red summer dress"`.

    Your own catalog: `fclip init ../shop --table products.csv --images photos`, then the same commands in `../shop`.
    """,
)

ENVIRONMENT_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "fclip,tasks",
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s | %(flow_run_name)s | %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s | %(task_run_name)s | %(message)s",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # the first start creates a database
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ["FCLIP_DEBUG"] = "1"


def main() -> None:
    """Run a command. An error prints one line and exits with 1 (2 for wrong usage); --debug prints a traceback."""
    for name, value in ENVIRONMENT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        enter_workspace(sys.argv[1:])
        app(prog_name="fclip")
    except UserError as error:
        if os.environ.get("FCLIP_DEBUG"):
            raise
        _print_error("error: ", str(error))
        sys.exit(1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if os.environ.get("FCLIP_DEBUG") or not package or package in ("fclip", "tasks", "flows"):
            raise
        extra = "search" if package in ("jinja2", "lancedb", "pandas") else "pipeline"
        _print_error(
            "error: ",
            f"this command needs the package {package}; run `pip install '.[{extra}]'` in the folder of fclip",
        )
        sys.exit(1)
    except KeyboardInterrupt:
        _print_error("stopped")
        sys.exit(130)


def _print_error(start: str, message: str = "") -> None:
    from rich.text import Text

    from flows.cli.terminal import errors  # rich takes a moment to import

    errors.print(Text.assemble((start, "red"), message), soft_wrap=True)


if __name__ == "__main__":
    main()
