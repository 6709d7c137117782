"""Events that start flows: `fclip emit`, or any program, sends them to the Prefect server (docs/guides/operation.md).

The trigger of a deployment in prefect.yaml listens to an event of its own workspace, which the event names by its path.
"""

from dataclasses import dataclass
from uuid import UUID

from fclip.errors import UserError
from flows.server import SETTING, has_server
from tasks.workspace.paths import Workspace

REMEDY = "start one with `prefect server start`, and set PREFECT_API_URL to its address"


@dataclass(frozen=True)
class EventKind:
    """An event. `name`: its name in Prefect. `help`: what it says, and what it starts."""

    name: str
    help: str


EVENTS = {"catalog-changed": EventKind("fclip.catalog-changed", "The source of a dataset changed; starts a refresh.")}


@dataclass(frozen=True)
class Sent:
    """An event that a server accepted: its name and id, the resource that it concerns, and the server's address."""

    name: str
    id: UUID
    resource: str
    server: str


def resource_id(workspace: Workspace) -> str:
    """The id of a workspace as a resource of events. The triggers in prefect.yaml match it."""
    return f"fclip.workspace.{workspace.root.resolve()}"


def emit(workspace: Workspace, event: str) -> Sent:
    """Send an event of the workspace, by its key in `EVENTS`, to the configured server, and wait until it accepts it.

    Raises:
        UserError: there is no such event, no server is configured, or the server cannot be reached or refuses.
    """
    if event not in EVENTS:
        raise UserError(f"no event `{event}`; events are {', '.join(EVENTS)}")
    if not has_server():
        raise UserError(f"no Prefect server is configured, so that no flow can start; {REMEDY}")
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.events import Event, Resource
    from prefect.settings import PREFECT_API_URL

    server = PREFECT_API_URL.value()
    if not server:  # `has_server` assumes one if it cannot read the settings
        raise UserError(f"no Prefect server is configured ({SETTING}), so that no flow can start; {REMEDY}")
    resource = {"prefect.resource.id": resource_id(workspace), "prefect.resource.name": workspace.root.name}
    sent = Event(event=EVENTS[event].name, resource=Resource(resource))
    try:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=[sent.model_dump(mode="json")]).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise UserError(
            f"the Prefect server at {server} refused the event: {error.response.status_code} "
            f"{error.response.text[:200]}; check PREFECT_API_URL and the server's version"
        ) from error
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        reason = str(error.__cause__ or error) or type(error).__name__
        raise UserError(
            f"the Prefect server at {server} cannot be reached ({reason}), so no flow starts; check PREFECT_API_URL, "
            "or start the server with `prefect server start`, and send the event again"
        ) from error
    return Sent(sent.event, sent.id, resource["prefect.resource.id"], server)
