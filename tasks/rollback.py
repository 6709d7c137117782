"""Effect `rollback`: the champion before this one is champion again, and the pin follows."""

from dataclasses import dataclass

from fclip.files import write_json
from fclip.registry.backend import connect, registry_lock
from fclip.registry.succession import step_back
from tasks.params import Base, load_section
from tasks.paths import Workspace


@dataclass(frozen=True)
class RolledBack:
    """`version` is champion in place of `left`, whose weights the gate refuses from now on."""

    version: int
    left: int
    reason: str


def rollback(workspace: Workspace) -> RolledBack:
    """Move the alias `champion` back, mark the version it leaves, rewrite pins/champion.json.

    Raises:
        UserError: there is no champion, or none came before it.
    """
    name = load_section(workspace, "base", Base).registered_model
    client = connect()
    with registry_lock(name):
        done = step_back(client, name)
        write_json(workspace.champion_pin, done.version.pin)
    return RolledBack(
        version=done.version.version,
        left=done.left.version,
        reason=f"version {done.version.version} is champion again; version {done.left.version} was rolled back",
    )
