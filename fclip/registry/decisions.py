"""What a person decided about a version: to promote it against the gate, or to refuse it.

All decisions of a version are in one tag, so that a reader never sees half of one. The last one counts.
"""

import getpass
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from fclip.errors import UserError
from fclip.registry import tags
from fclip.registry.store import versions
from fclip.registry.versions import Version

if TYPE_CHECKING:
    from mlflow import MlflowClient

Kind = Literal["override", "refuse"]
WORDS: dict[Kind, str] = {"override": "promoted against the gate", "refuse": "refused"}
MAX_REASON = 500


@dataclass(frozen=True)
class Decision:
    """A decision of a person.

    Attributes:
        kind: `override` promoted the version although the gate or an earlier decision refused it; `refuse` keeps the
            gate from promoting it.
        reason: one line. by: name of the person. at: ISO time, UTC.
    """

    kind: Kind
    reason: str
    by: str
    at: str

    @property
    def words(self) -> str:
        """The decision on one line: what was decided, by whom, when and why."""
        return f"{WORDS[self.kind]} by {self.by} ({self.at}): {self.reason}"


def new_decision(kind: Kind, reason: str) -> Decision:
    """Return the decision of the current user at the current time. It is not recorded yet.

    The name is `$FCLIP_USER`, otherwise that of the login.

    Raises:
        UserError: the reason is empty or longer than `MAX_REASON` characters, or the user has no name.
    """
    reason = _one_line(reason)
    if not reason:
        raise UserError(f"`--{kind}` needs a reason, which is recorded on the version; it is empty")
    if len(reason) > MAX_REASON:
        raise UserError(f"the reason of `--{kind}` has {len(reason)} characters; shorten it to {MAX_REASON}")
    return Decision(kind, reason, _current_user(), datetime.now(UTC).isoformat(timespec="seconds"))


def decisions(version: Version) -> tuple[Decision, ...]:
    """Return the decisions of a version, the last one at the end; empty if there is none.

    Raises:
        UserError: the tag of the version contains something else.
    """
    try:
        return tuple(map(_from_json, json.loads(version.tags.get(tags.DECISIONS, "[]"))))
    except (ValueError, TypeError) as error:
        raise UserError(
            f"the tag {tags.DECISIONS} of {version.pin.title} cannot be read: somebody changed it; delete it in MLflow"
        ) from error


def decisions_of(registered_model: str, number: int | None) -> tuple[Decision, ...]:
    """Return the decisions of the version with this number; empty if the registry does not have it.

    Raises:
        UserError: as in `decisions`.
    """
    return next((decisions(version) for version in versions(registered_model) if version.version == number), ())


def refusal(version: Version) -> Decision | None:
    """Return the decision that refuses the version; None if the last one does not, or there is none."""
    last = decisions(version)[-1:]
    return last[0] if last and last[0].kind == "refuse" else None


def record(
    client: "MlflowClient", version: Version, decision: Decision, *, describe: Callable[[str, Decision], str]
) -> None:
    """Add a decision to a version. The caller must hold `registry_lock` and have read the version under it.

    Args:
        describe: returns the version's description with the decision, from the description before.
    """
    name, number = version.registered_model, str(version.version)
    history = [asdict(each) for each in (*decisions(version), decision)]
    client.set_model_version_tag(name, number, tags.DECISIONS, json.dumps(history, ensure_ascii=False))
    before = client.get_model_version(name, number).description or ""
    client.update_model_version(name, number, description=describe(before, decision))


def _from_json(values: Any) -> Decision:
    match values:
        case {"kind": "override" | "refuse" as kind, "reason": str(reason), "by": str(by), "at": str(at)}:
            return Decision(kind, reason, by, at)
    raise ValueError("not a decision")


def _current_user() -> str:
    try:
        name = _one_line(os.environ.get("FCLIP_USER") or getpass.getuser())
    except (OSError, KeyError, ImportError):  # a user id without an entry in the password database
        name = ""
    if not name:
        raise UserError("the current user has no name; set FCLIP_USER to the name to record")
    return name


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
