"""Change one value in params.yaml and leave every other byte as people wrote it."""

import sys
from pathlib import Path
from typing import Any

import yaml

from fclip.errors import UserError
from fclip.files import atomic_write
from tasks.workspace.params import read_params


def set_param(path: Path, section: str, key: str, value: str | dict[str, Any]) -> bool:
    """Set `section.key` of params.yaml to a plain word or to a mapping, and return whether this changed it.

    Raises:
        UserError: the file is missing or not valid, has no such section, or writes the section in a form that cannot be
            changed, such as an alias. The file is then unchanged.
    """
    before = read_params(path)
    own = before.get(section)
    wanted = {**before, section: {**own, key: value} if isinstance(own, dict) else {key: value}}
    if wanted == before:
        return False
    text = path.read_text(encoding="utf-8")
    written = value if isinstance(value, str) else _on_one_line(value)
    changed = _with_value(text, section, key, written)
    if changed is None or not _holds(changed, wanted):
        raise UserError(f"{path}: cannot change {section}.{key} by itself; set it to {written} in the file")
    atomic_write(path, changed)
    return True


def _with_value(text: str, section: str, key: str, value: str) -> str | None:
    """The text with the value; None if it has no such section."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    node = next((each for name, each in root.value if name.value == section), None)
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):  # an empty section
        return _splice(text, node.start_mark.index, node.end_mark.index, f" {{{key}: {value}}}")
    for name, old in node.value:
        if name.value == key:
            return _splice(text, old.start_mark.index, old.end_mark.index, value)
    if node.flow_style:
        rest = ", " if node.value else ""
        return _splice(text, node.start_mark.index + 1, node.start_mark.index + 1, f"{key}: {value}{rest}")
    start = node.value[0][0].start_mark
    return _splice(text, start.index, start.index, f"{key}: {value}\n{' ' * start.column}")


def _on_one_line(value: dict[str, Any]) -> str:
    return yaml.safe_dump(
        value, default_flow_style=True, width=sys.maxsize, allow_unicode=True, sort_keys=False
    ).strip()


def _holds(text: str, values: dict[str, Any]) -> bool:
    try:
        return bool(yaml.safe_load(text) == values)
    except yaml.YAMLError:  # an anchor was cut
        return False


def _splice(text: str, begin: int, end: int, new: str) -> str:
    return text[:begin] + new + text[end:]
