"""Runs that wait for their turn in the deployment of the current run.

The deployment of `refresh_catalog` runs one refresh at a time, and each event adds a run. A refresh covers the events
whose runs wait before it reads the sources, so it cancels these runs at its end. No clocks are compared: a run that
waits was created before, and any other stays.
"""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled

WAITING = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING]))


def waiting_runs() -> tuple[UUID, ...]:
    """Return the other runs of this run's deployment that wait. There are none without a deployment.

    Runs that the schedule has created for a later time do not wait. At most as many as the server returns at once (200
    by default) are named; those that are due first come first.
    """
    if deployment.id is None:
        return ()
    with get_client(sync_client=True) as client:
        of_deployment = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[UUID(deployment.id)]), state=WAITING
        )
        found = client.read_flow_runs(flow_run_filter=of_deployment, sort=FlowRunSort.EXPECTED_START_TIME_ASC)
    return tuple(run.id for run in found if str(run.id) != flow_run.id and _is_due(run))


def cancel_covered(runs: tuple[UUID, ...]) -> int:
    """Cancel those of `runs` that still wait, and return their number."""
    if not runs:
        return 0
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(runs)), state=WAITING)
        )
        for run in waiting:
            _cancel(client, run)
    return len(waiting)


def _is_due(run: FlowRun) -> bool:
    """Whether the server has found that the run is due, or an event created it to start at once."""
    return run.state_name != "Scheduled" or (run.created_by is not None and run.created_by.type == "AUTOMATION")


def _cancel(client: SyncPrefectClient, run: FlowRun) -> None:
    message = f"Covered by the run {flow_run.name}, which read the sources after this run was created"
    client.set_flow_run_state(run.id, Cancelled(message=message))
