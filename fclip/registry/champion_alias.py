"""Who is champion: hand the alias on, and take it back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fclip.errors import UserError
from fclip.registry import tags
from fclip.registry.store import list_versions, with_alias
from fclip.registry.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Rollback:
    """`left` was champion; `version` is now."""

    left: Version
    version: Version


def set_champion(client: "MlflowClient", name: str, version: int) -> Version:
    """Make `version` the champion of `name`: the succession is written first, the alias moves last.

    The caller holds `registry_lock(name)`. The mark of an earlier rollback goes, since someone overruled it.
    """
    before = with_alias(client, name, tags.CHAMPION)
    number = str(version)
    if before is None:
        client.delete_model_version_tag(name, number, tags.SUCCEEDS)
    else:
        client.set_model_version_tag(name, number, tags.SUCCEEDS, str(before.version))
    client.set_model_version_tag(name, number, tags.PROMOTED_AT, datetime.now(UTC).isoformat(timespec="seconds"))
    client.set_model_version_tag(name, number, tags.ROLLED_BACK, "false")
    client.set_registered_model_alias(name, tags.CHAMPION, number)
    promoted = with_alias(client, name, tags.CHAMPION)
    assert promoted is not None
    return promoted


def restore_previous(client: "MlflowClient", name: str) -> Rollback:
    """Give the alias `champion` of `name` back to the last champion before it that was not itself rolled back.

    The version left behind is marked first, so that a crash in between cannot have it promoted again.
    The caller holds `registry_lock(name)`.

    Raises:
        UserError: there is no champion, or none before it.
    """
    present = {entry.version: entry for entry in list_versions(client, name)}
    left = next((entry for entry in present.values() if entry.is_champion), None)
    if left is None:
        raise UserError(f"{name} has no champion: there is nothing to roll back")
    previous = _predecessor(left, present)
    client.set_model_version_tag(name, str(left.version), tags.ROLLED_BACK, "true")
    client.set_registered_model_alias(name, tags.CHAMPION, str(previous.version))
    found = with_alias(client, name, tags.CHAMPION)
    assert found is not None
    return Rollback(left=left, version=found)


def _predecessor(left: Version, present: dict[int, Version]) -> Version:
    seen = {left.version}
    number = left.succeeds
    while number is not None and number not in seen:
        seen.add(number)
        entry = present.get(number)
        if entry is None:
            raise UserError(
                f"version {number} of {left.registered_model}, champion before version {left.version}, was deleted "
                "from the registry: promote another version instead"
            )
        if not entry.rolled_back and entry.model_sha256 != left.model_sha256:
            return entry
        number = entry.succeeds
    raise UserError(
        f"no champion of {left.registered_model} came before version {left.version}: there is nothing to roll back to"
    )
