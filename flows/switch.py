"""The flow `switch`: promote the selected model or roll back, then embed and publish with the new champion."""

from dataclasses import dataclass
from typing import Literal

from prefect import flow

from fclip.errors import UserError
from fclip.registry.decisions import Decision
from flows.effects import effect
from flows.params import load_params
from flows.pipeline_process import pipeline_process
from flows.steps import embed_catalog, locked_workspace, publish_indexes, register_task
from tasks.promote import promote, rollback
from tasks.register import Receipt

promote_task = effect(promote)
rollback_task = effect(rollback)


@dataclass(frozen=True)
class Switch:
    """The result of the flow.

    Attributes:
        moved: whether the champion changed.
        refused: whether the version was not promoted, although it is not the champion.
        reason: why, in a sentence.
    """

    moved: bool
    refused: bool
    reason: str


@flow(name="switch", flow_run_name="{action}", persist_result=False)
def switch(
    workspace: str = ".", action: Literal["promote", "rollback"] = "promote", override: Decision | None = None
) -> Switch:
    """Move the champion alias and the champion pin by hand, then embed and publish with the new champion.

    Args:
        override: promotes although the gate refuses it (`tasks.promote.promote`).
    """
    with locked_workspace(workspace, f"fclip {action}", wait=False) as space:
        if action == "rollback":
            switched = Switch(True, False, rollback_task(space).reason)
        else:
            registration = register_task(space)
            if not isinstance(registration, Receipt):
                raise UserError(f"no version to promote: {registration.reason}")
            promotion = promote_task(space, registration, override=override)
            refused = not promotion.moved and promotion.previous != promotion.version
            switched = Switch(promotion.moved, refused, promotion.reason)
        if switched.moved:
            with pipeline_process(space) as pipeline:
                embed_catalog(space, pipeline)
            publish_indexes(space, challenger=load_params(space).search.challenger)
        return switched
