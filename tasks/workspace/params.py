"""Read params.yaml: each step reads its own section and `base`, as frozen configs; errors name the key."""

from pathlib import Path
from typing import Any, TypeVar

import yaml

from fclip.config import config, parse_config
from fclip.errors import UserError
from tasks.workspace.paths import Workspace

T = TypeVar("T")
OPTIONAL = ("promote", "drift", "search")
"""Sections that params.yaml may leave out, since no stage of dvc.yaml tracks them."""


@config
class Base:
    """The section `base`: names and the seed, which every step may read."""

    workspace: str
    """Name of this workspace, for people."""
    registered_model: str
    """Name of the model in the registry; each workspace has its own."""
    seed: int
    """Seed of all random numbers, usually 0."""


def load_section(workspace: Workspace, name: str, kind: type[T]) -> T:
    """The section `name` of the workspace's params.yaml (dots go deeper: `finetune.base_model`) as a `kind`.

    Raises:
        UserError: the file or the section is missing, a key is unknown or missing, or a value is not allowed;
            every fault is named by its key.
    """
    value: Any = {section: {} for section in OPTIONAL} | read_params(workspace.params)
    for part in name.split("."):
        if not isinstance(value, dict) or part not in value:
            raise UserError(f"{workspace.params} has no section `{name}`: add it, as in params.yaml of the repository")
        value = value[part]
    return parse(name, value, kind)


def parse(name: str, value: Any, kind: type[T]) -> T:
    """`value`, read from the section `name`, as a `kind`; raises UserError naming every fault by its key."""
    return parse_config(value, kind, where="params.yaml", section=name)


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
