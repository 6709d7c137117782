"""The flow `switch`: promote what is selected, or roll back, and let embeddings and search follow."""

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
    """Whether another model is in use now, whether that was refused, and why, in a sentence."""

    moved: bool
    refused: bool
    said: str


@flow(name="switch", flow_run_name="{what}", persist_result=False)
def switch(workspace: str = ".", what: Literal["promote", "rollback"] = "promote", force: bool = False) -> Switch:
    """Move the champion alias by hand; the pin follows, the catalog is embedded by it and search reads that."""
    space = Workspace(Path(workspace).resolve())
    require_own_code(space.root)
    with lock(space.run_lock, f"another run holds {space.root}: wait for it to end"):
        if what == "rollback":
            switched = Switch(True, False, rollback_task(space).reason)
        else:
            registration = register_task(space)
            if not isinstance(registration, Receipt):
                raise UserError(f"there is nothing to promote: {registration.reason}")
            promotion = promote_task(space, registration, force=force)
            refused = not promotion.moved and promotion.previous != promotion.version
            switched = Switch(promotion.moved, refused, promotion.reason)
        if switched.moved:
            run_stale(space, up_to="embed")
            publish_task(space)
        return switched
