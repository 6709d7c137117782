"""The command reference, generated from the Typer app."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from typer.main import get_command

from flows.cli.__main__ import app
from flows.cli.commands import COMMANDS, load_command

INTRODUCTION = """\
# Commands

`fclip` works on the workspace of the current folder. `python -m flows.cli` is the same command.
It exits with 0 on success, 1 on an error, and 2 on wrong usage. An error is one message without a traceback.
This page is generated from the commands when the documentation is built.
"""


@dataclass(frozen=True)
class Command:
    """A command or a group of commands.

    Attributes:
        path: its words, such as ("cache", "prune"); () for `fclip` itself.
    """

    path: tuple[str, ...]
    help: str
    parameters: tuple[Any, ...]
    is_group: bool

    @property
    def name(self) -> str:
        return " ".join(("fclip", *self.path))

    @property
    def options(self) -> frozenset[str]:
        """Every spelling of its options."""
        return frozenset(
            name
            for parameter in self.parameters
            if parameter.param_type_name == "option"
            for name in (*parameter.opts, *parameter.secondary_opts)
        )


def commands() -> tuple[Command, ...]:
    """`fclip`, its commands and groups, and the groups' commands, in the order of `fclip --help`."""
    own = Command((), _paragraphs(app.info.help or ""), tuple(_parameters(get_command(app))), is_group=True)
    return (own, *(found for name in COMMANDS for found in _walk(load_command(name), (name,))))


def page() -> str:
    """The page as Markdown."""
    return "\n\n".join([INTRODUCTION, *(_section(command) for command in commands())]) + "\n"


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[Command]:
    members: Mapping[str, Any] = getattr(command, "commands", {})
    yield Command(path, _paragraphs(command.help or ""), tuple(_parameters(command)), bool(members))
    for name, member in members.items():
        yield from _walk(member, (*path, name))


def _parameters(command: Any) -> list[Any]:
    return [each for each in command.params if not getattr(each, "hidden", False) and "--help" not in each.opts]


def _section(command: Command) -> str:
    level = "##" if len(command.path) < 2 else "###"
    parts = [f"{level} `{command.name}`", command.help]
    if not command.is_group:
        parts.append(f"```text\n{_usage(command)}\n```")
    parts += [_entry(parameter) for parameter in command.parameters]
    return "\n\n".join(part for part in parts if part)


def _usage(command: Command) -> str:
    words = [command.name, *(["[OPTIONS]"] if command.options else [])]
    for parameter in command.parameters:
        if parameter.param_type_name == "argument":
            name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
            words.append(name if parameter.required else f"[{name}]")
    return " ".join(words)


def _entry(parameter: Any) -> str:
    """An argument or option as an entry of a definition list."""
    if parameter.param_type_name == "argument":
        title = f"`{parameter.name.upper()}`" + ("" if parameter.required else " · optional")
    else:
        spellings = [*parameter.opts, *parameter.secondary_opts]
        value = "" if parameter.is_flag else f" {_value_name(parameter)}"
        title = ", ".join(f"`{spelling}{value}`" for spelling in spellings)
        if parameter.required:
            title += " · **required**"
        elif not parameter.is_flag and parameter.default is not None:
            title += f" · default `{parameter.default}`"
    return f"{title}\n:   {' '.join((getattr(parameter, 'help', None) or '—').split())}"


def _value_name(option: Any) -> str:
    """A word for the value of an option: NUMBER, PATH or TEXT."""
    return {"integer": "NUMBER", "integer range": "NUMBER", "float": "NUMBER", "path": "PATH"}.get(
        option.type.name, "TEXT"
    )


def _paragraphs(text: str) -> str:
    """The text with each paragraph on one line, so that indentation makes no code block."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))
