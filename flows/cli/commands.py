"""The commands of `fclip`. A command's module is imported when the command runs, so that `fclip --help` is fast."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import typer
from typer._click import Command, Context
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from fclip.errors import UserError


@dataclass(frozen=True)
class CommandEntry:
    """A command of `fclip`.

    Attributes:
        module: the module in this package that defines it.
        attribute: the function, or the `typer.Typer` of a group of commands.
        help: its line in `fclip --help`, at most 64 characters.
        needs_pipeline: whether it needs the packages of the extra `pipeline`.
    """

    module: str
    attribute: str
    help: str
    needs_pipeline: bool = True


COMMANDS = {
    "init": CommandEntry("init", "init", "Create a workspace for your own table of products."),
    "retrain": CommandEntry("retrain", "retrain", "Run the whole pipeline, and promote the new model if better."),
    "refresh": CommandEntry("refresh", "refresh", "Embed and publish what changed in the catalog; train nothing."),
    "emit": CommandEntry("refresh", "emit", "Tell the Prefect server that the catalog changed."),
    "stage": CommandEntry("run", "stage", "Run one DVC stage and the stale stages before it."),
    "pin": CommandEntry("run", "pin", "Record the versions of the sources, base model and champion."),
    "status": CommandEntry("status", "status", "Show stale stages, champion, selected model and embeddings."),
    "select": CommandEntry("select", "select", "Show three picks of the last run, or take another one."),
    "distil": CommandEntry("distil", "distil", "Retrain with a larger model's embeddings as targets."),
    "params": CommandEntry("params", "params", "Show every setting with its value and a description."),
    "catalog": CommandEntry("catalog", "catalog", "Profile the ingested datasets, and write HTML pages."),
    "search": CommandEntry("search", "search", "Search the published products by text, image, or both.", False),
    "similar": CommandEntry("search", "similar", "Show the published products most similar to a product.", False),
    "index": CommandEntry("index", "index", "Show what is published, or go back to the index before.", False),
    "publish": CommandEntry("index", "publish", "Build and publish the index of the embedded catalog."),
    "takedown": CommandEntry("index", "takedown", "Remove products from all search results at once.", False),
    "serve": CommandEntry("serve", "serve", "Serve search, embeddings and a page over HTTP.", False),
    "queries": CommandEntry("judgements", "queries", "Show what people searched for, and did not find.", False),
    "judgements": CommandEntry("judgements", "judgements_app", "Use the grades that people gave to search results."),
    "embed": CommandEntry("embed", "embed", "Embed images or texts to a file, in any folder.", False),
    "classify": CommandEntry("embed", "classify", "Classify images by texts (zero-shot), in any folder.", False),
    "datasets": CommandEntry("catalog", "datasets", "List the published datasets that fclip can read."),
    "models": CommandEntry("status", "models", "List the registered versions of the model."),
    "promote": CommandEntry("run", "promote", "Make the selected model the champion if it passes the gate."),
    "rollback": CommandEntry("run", "rollback", "Make the previous champion the champion again."),
    "reproduce": CommandEntry("reproduce", "reproduce", "Compute a version again in a new workspace, and compare."),
    "evaluate": CommandEntry("evaluate", "evaluate", "Evaluate any model on any dataset."),
    "compare": CommandEntry("evaluate", "compare", "Compare two models on the same items."),
    "audit": CommandEntry("audit", "audit", "Measure known weaknesses of any model, in plain words."),
    "compact": CommandEntry("compact", "compact", "Delete the images that no product uses (takedown)."),
    "workspace": CommandEntry("workspaces", "workspace_app", "Create and list workspaces (a git worktree each)."),
    "cache": CommandEntry("cache", "cache_app", "Show or delete the caches of the workspace."),
    "export": CommandEntry("export", "export_app", "Export a model or training products for other tools."),
}


PIPELINE = ("torch", "open_clip", "prefect", "dvc", "mlflow")  # of the extra


class LazyCommands(TyperGroup):
    """The group `fclip`. Its listing comes from `COMMANDS`; a command is imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """Return the name, the imported command and the remaining arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        if name and COMMANDS[name].needs_pipeline and "--help" not in rest:
            require_pipeline(name)
        return name, load_command(name) if name else command, rest


def require_pipeline(command: str) -> None:
    """Raise UserError if a package of the extra `pipeline` is not installed."""
    if missing := [package for package in PIPELINE if find_spec(package) is None]:
        raise UserError(
            f"`fclip {command}` needs the package {missing[0]}; run `pip install '.[pipeline]'` in the folder of fclip"
        )


def load_command(name: str) -> Any:
    """Import the command or group `name` and return it as Typer builds it."""
    entry = COMMANDS[name]
    loaded = getattr(import_module(f"flows.cli.{entry.module}"), entry.attribute)
    if isinstance(loaded, typer.Typer):
        return get_command(loaded)
    alone = new_app()
    alone.command(name)(loaded)
    return get_command(alone)


def new_app(**settings: Any) -> typer.Typer:
    """Return a Typer app in the style of `fclip`: plain help, because Typer's rich help takes longer than a command."""
    return typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None, **settings)
