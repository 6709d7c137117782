"""Read params.yaml: each step its own section and `base`, as frozen configs, with errors that name the key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from fclip.config import config
from fclip.errors import UserError
from tasks.paths import Workspace

T = TypeVar("T")


@config
class Base:
    """What every step may read."""

    workspace: str
    registered_model: str
    seed: int


def load_section(workspace: Workspace, name: str, kind: type[T]) -> T:
    """The section `name` of the workspace's params.yaml (dots go deeper: `finetune.start`) as a `kind`.

    Raises:
        UserError: the file or the section is missing, a key is unknown or missing, or a value is not allowed;
            every fault is named by its key.
    """
    value: Any = read_params(workspace.params)
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{workspace.params} has no section `{name}`: add it, as in the repository's")
        value = value[part]
    return parse(name, value, kind)


def parse(name: str, value: Any, kind: type[T]) -> T:
    """`value`, read from the section `name`, as a `kind`; raises UserError naming every fault by its key."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(name, value, fault)}" for fault in error.errors(include_url=False))
        raise UserError(f"params.yaml:\n{faults}") from error


def read_params(path: Path) -> dict[str, Any]:
    """params.yaml as plain values; raises UserError when it is missing or no YAML mapping."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: run this in a workspace (a folder with params.yaml)") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} must be a mapping of sections, not {type(value).__name__}")
    return value


def _fault(section: str, value: Any, fault: Any) -> str:
    key = ".".join(part for part in (section, *_keys(value, fault["loc"])) if part)
    match fault["type"]:
        case "unexpected_keyword_argument" | "extra_forbidden":
            return f"{key}: unknown key; remove it or mend its spelling"
        case "missing" | "missing_argument" | "missing_keyword_only_argument":
            return f"{key}: is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]} (got {fault['input']!r})"


def _keys(value: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys of the file on the way to a fault: pydantic puts the kind of a union's member among them."""
    keys = []
    for number, part in enumerate(location, start=1):
        inside = part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        if inside or number == len(location):
            keys.append(str(part))
        if inside:
            value = value[part]
    return keys
