"""The entry point of `fclip`: it registers the commands of this package and handles their errors.

Every command works on the workspace of the current folder and runs the code of that workspace.
"""

import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.text import Text

from fclip.errors import UserError
from flows.cli.cache import cache_app
from flows.cli.catalog import catalog, datasets
from flows.cli.compact import compact
from flows.cli.evaluate import compare, evaluate
from flows.cli.export import export_app
from flows.cli.init import init
from flows.cli.params import params
from flows.cli.run import pin, promote, retrain, rollback, stage
from flows.cli.search import search
from flows.cli.status import models, status
from flows.cli.terminal import enter_workspace, errors
from flows.cli.workspaces import workspace_app

# Heavy libraries take seconds to import. Each command imports them in its function, so that `fclip --help` is fast.

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="""Retrain CLIP on a product catalog, and promote a new model only if it is significantly better.

    The champion is the registered model in use. A new model replaces it only if it passes the gate, a test for
    significant gains.

    First run: `fclip retrain`, then `fclip status` and `fclip search "red summer dress"`.

    Your own catalog: `fclip init ../shop --table products.csv --images photos`, then the same commands in `../shop`.
    """,
)
COMMANDS: tuple[Callable[..., None], ...] = (
    *(init, retrain, stage, pin, status, params, catalog, search, datasets, models, promote, rollback),
    *(evaluate, compare, compact),
)
for command in COMMANDS:
    app.command()(command)
for name, group in {"workspace": workspace_app, "cache": cache_app, "export": export_app}.items():
    app.add_typer(group, name=name)

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
        errors.print(Text.assemble(("error: ", "red"), str(error)), soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("stopped")
        sys.exit(130)


if __name__ == "__main__":
    main()
