"""`fclip params`: the effective configuration, and the explanation of one setting."""

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.text import Text

from fclip.config import REQUIRED
from fclip.config_tree import Effective, effective, find, require_key, text_of
from flows.cli.here import workspace_here
from flows.cli.terminal import console

MARK = "•"
NAME_WIDTH = 22  # columns of a terminal
VALUE_WIDTHS = (18, 44)  # in a narrow terminal, in a wide one
WIDE = 110


def params(
    key: Annotated[str | None, typer.Argument(help="A setting or a section, such as finetune.learning_rate.")] = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only the settings that differ from the default.")] = False,
) -> None:
    """Show every setting with its value and a description; • marks a value that is not the default.

    With the KEY of a section it shows this section, with the KEY of a setting it explains this setting. Piped, it
    prints one line for each setting.
    """
    from flows.params import Params, load_params

    loaded = load_params(workspace_here())
    settings = list(effective(loaded))
    if key is not None:
        require_key(Params, loaded, key)
        found = next((each for each in settings if each.setting.key == key), None)
        settings = [each for each in settings if each.setting.key.startswith(f"{key}.")]
        if not settings:
            _explain(key, found)
            return
    shown = [each for each in settings if not (changed and each.is_default)]
    if not console.is_terminal:
        for each in shown:
            mark = " " if each.is_default else MARK
            typer.echo(f"{mark} {each.setting.key}: {text_of(each.value)}  # {each.setting.summary}")
        return
    for line in _lines(shown, console.width):
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    console.print(Text(f"{MARK} not the default. `fclip params KEY` explains one setting.", style="dim"))


def _lines(settings: Sequence[Effective], width: int) -> Iterator[Text]:
    """A line for each setting, below the key of its section, none of them wider than `width`."""
    value_width = VALUE_WIDTHS[width >= WIDE]
    before = None
    for each in settings:
        section, _, name = each.setting.key.rpartition(".")
        if section != before:
            if before is not None:
                yield Text()
            yield Text(section, style="bold")
            before = section
        style = "" if each.is_default else "cyan"
        line = Text.assemble(
            (" " if each.is_default else MARK, style),
            " ",
            _fitted(name, NAME_WIDTH),
            "  ",
            _fitted(text_of(each.value), value_width, style),
            "  ",
            (each.setting.summary, "dim"),
        )
        line.truncate(width, overflow="ellipsis")
        yield line


def _fitted(text: str, width: int, style: str = "") -> Text:
    fitted = Text(text, style=style)
    fitted.truncate(width, overflow="ellipsis", pad=True)
    return fitted


def _explain(key: str, found: Effective | None) -> None:
    """One setting; `found` is None if it is not in the configuration, since a section above it is null."""
    from flows.params import Params, stages_that_read

    workspace = workspace_here()
    console.print(Text(key, style="bold"))
    of_class = [(f"if `kind` is {section.kind}: " if section.kind else "", each) for section, each in find(Params, key)]
    for of_kind, setting in [("", found.setting)] if found else of_class:
        value = "not set" if found is None else text_of(found.value)
        if found is not None:
            value += " (the default)" if found.is_default else f" (from {workspace.params.name})"
        _print("", of_kind + setting.description)
        _print("value", value)
        _print("default", "none; params.yaml must set it" if setting.default is REQUIRED else text_of(setting.default))
        _print("type", setting.type)
        _print("declared in", setting.module.replace(".", "/") + ".py")
    stages = stages_that_read(workspace, key)
    _print("a change reruns", f"{', '.join(stages)}, and the stages that depend on it" if stages else "no stage")


def _print(label: str, text: str) -> None:
    console.print(Text.assemble((f"  {label}: " if label else "  ", "dim"), text), soft_wrap=not console.is_terminal)
