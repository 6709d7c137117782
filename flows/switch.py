"""The flow `switch`: promote the selected model or roll back, then embed and publish with the new champion."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prefect import flow

from fclip.errors import UserError
from flows.effects import effect
from flows.retrain import publish_task, register_task, run_stale
from tasks.promote import promote, rollback
from tasks.register import Receipt
from tasks.workspace.lock import lock
from tasks.workspace.paths import Workspace
from tasks.workspace.process import require_own_code

promote_task = effect(promote)
rollback_task = effect(rollback)


@dataclass(frozen=True)
class Switch:
    """The result of the flow.

    Attributes:
        moved: whether the champion changed.
        refused: whether the gate refused the promotion.
        reason: why, in a sentence.
    """

    moved: bool
    refused: bool
    reason: str


@flow(name="switch", flow_run_name="{action}", persist_result=False)
def switch(workspace: str = ".", action: Literal["promote", "rollback"] = "promote", force: bool = False) -> Switch:
    """Move the champion alias and the champion pin by hand, then embed and publish with the new champion."""
    space = Workspace(Path(workspace).resolve())
    require_own_code(space.root)
    with lock(space.run_lock, f"another run is in progress in {space.root}; wait until it ends"):
        if action == "rollback":
            switched = Switch(True, False, rollback_task(space).reason)
        else:
            registration = register_task(space)
            if not isinstance(registration, Receipt):
                raise UserError(f"no version to promote: {registration.reason}")
            promotion = promote_task(space, registration, force=force)
            refused = not promotion.moved and promotion.previous != promotion.version
            switched = Switch(promotion.moved, refused, promotion.reason)
        if switched.moved:
            run_stale(space, up_to="embed")
            publish_task(space)
        return switched
