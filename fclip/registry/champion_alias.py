"""Move the alias `champion` to a version, and back to the previous one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fclip.errors import UserError
from fclip.registry import tags
from fclip.registry.decisions import refusal
from fclip.registry.store import find_by_alias, list_versions
from fclip.registry.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Rollback:
    """The result of a rollback: `rolled_back` was the champion, and `champion` is the champion now."""

    rolled_back: Version
    champion: Version


def set_champion(client: "MlflowClient", name: str, version: int) -> Version:
    """Make `version` the champion of `name` and return it. The tags are written first; the alias moves last.

    This removes the mark of an earlier rollback. The caller must hold `registry_lock(name)`.
    """
    before = find_by_alias(client, name, tags.CHAMPION)
    number = str(version)
    if before is None:
        client.delete_model_version_tag(name, number, tags.SUCCEEDS)
    else:
        client.set_model_version_tag(name, number, tags.SUCCEEDS, str(before.version))
    client.set_model_version_tag(name, number, tags.PROMOTED_AT, datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_model_version_tag(name, number, tags.ROLLED_BACK, "false")
    client.set_registered_model_alias(name, tags.CHAMPION, number)
    promoted = find_by_alias(client, name, tags.CHAMPION)
    assert promoted is not None
    return promoted


def restore_previous(client: "MlflowClient", name: str) -> Rollback:
    """Make the previous champion of `name` that was neither rolled back nor refused the champion again.

    The current champion is marked as rolled back first, so that a crash before the alias moves cannot lead to a new
    promotion of it. The caller must hold `registry_lock(name)`.

    Raises:
        UserError: there is no champion or no previous one.
    """
    current, previous = find_previous(name, list_versions(client, name))
    client.set_model_version_tag(name, str(current.version), tags.ROLLED_BACK, "true")
    client.set_registered_model_alias(name, tags.CHAMPION, str(previous.version))
    champion = find_by_alias(client, name, tags.CHAMPION)
    assert champion is not None
    return Rollback(rolled_back=current, champion=champion)


def find_previous(name: str, versions: Sequence[Version]) -> tuple[Version, Version]:
    """Return the champion of the registered model `name`, and the version that a rollback would restore.

    Raises:
        UserError: there is no champion or no previous one.
    """
    present = {entry.version: entry for entry in versions}
    current = next((entry for entry in versions if entry.is_champion), None)
    if current is None:
        raise UserError(f"{name} has no champion, so there is nothing to roll back; promote a version first")
    return current, _predecessor(current, present)


def _predecessor(current: Version, present: dict[int, Version]) -> Version:
    seen = {current.version}
    number = current.succeeds
    while number is not None and number not in seen:
        seen.add(number)
        entry = present.get(number)
        if entry is None:
            raise UserError(
                f"version {number} of {current.registered_model}, the champion before version {current.version}, was "
                "deleted from the registry; promote another version"
            )
        if not entry.rolled_back and not refusal(entry) and entry.model_sha256 != current.model_sha256:
            return entry
        number = entry.succeeds
    raise UserError(
        f"{current.registered_model} had no champion before version {current.version} that was neither rolled back nor "
        "refused, so there is nothing to roll back to; promote another version"
    )
