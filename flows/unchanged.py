"""Whether anything has changed since the last complete run. The answer needs neither Prefect nor a server.

A run ends by remembering the state that it left: code, params, pins, stages, registry and pages. The next run compares
it, lists the sources and the base model anew, and asks DVC for stale stages. A retraining does all that a refresh does,
so a refresh also accepts the state that a retraining left. A retraining accepts only that of a retraining.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from fclip.files import sha256_code, sha256_file
from fclip.registry import store
from fclip.registry.versions import version_to_json
from fclip.remembered import recall, remember
from fclip.search.published import Published
from flows.pipeline import read_pipeline
from tasks.commit import pending_changes
from tasks.resolve import Resolution, resolve
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace

FlowName = Literal["retrain", "refresh"]
REFRESHED_CATALOG = "gather"  # a refresh runs this stage, those before it, and `embed`


@dataclass(frozen=True)
class Unchanged:
    """Nothing has changed since the run that ended at `completed_at`, in ISO format."""

    completed_at: str


def find_unchanged(workspace: Workspace, *, commit: bool, flow: FlowName = "retrain") -> Unchanged | Resolution | None:
    """Return `Unchanged` if a run would do nothing. The caller holds the lock of the run.

    Args:
        commit: whether the run ends with the closing commit.
        flow: what the run would do.

    Returns:
        If there is something to do: the new pins if they were resolved to find out, else None.

    Raises:
        UserError: as in `resolve`.
    """
    last = recall(workspace.completed_run, _state(workspace))
    if last is None or (commit and (not last["committed"] or pending_changes(workspace))):
        return None
    if flow == "retrain" and last["flow"] != "retrain":
        return None
    pipeline = read_pipeline(workspace)
    wanted = pipeline.up_to(REFRESHED_CATALOG) | {"embed"} if flow == "refresh" else frozenset(pipeline.stages)
    if pipeline.stale & wanted:
        return None
    resolution = resolve(workspace)
    return resolution if resolution.changed else Unchanged(last["at"])


def remember_run(workspace: Workspace, *, committed: bool, flow: FlowName = "retrain") -> None:
    """Remember the state of the workspace at the end of a run that completed every step."""
    at = datetime.now(UTC).isoformat(timespec="seconds")
    remember(workspace.completed_run, _state(workspace), {"at": at, "committed": committed, "flow": flow})


def _state(workspace: Workspace) -> Any | None:
    """Everything that the steps after the stages depend on or write; None if a part of it is missing."""
    model = load_section(workspace, "base", Base).registered_model
    published = Published(workspace.published)
    files = [workspace.params, workspace.dvc_yaml, workspace.dvc_lock, published.pointer_file("champion")]
    pages = [workspace.report, workspace.evaluation_page, workspace.profile]
    if not all(path.is_file() for path in files):
        return None
    return {
        "code": sha256_code(workspace.root / name for name in ("fclip", "flows", "tasks")),
        "files": [sha256_file(path) for path in (*files, *sorted(workspace.pins.rglob("*.json")))],
        "pages": [path.is_file() for path in pages],
        "published": sorted(path.relative_to(published.root).as_posix() for path in published.root.glob("*/*")),
        "exclusions": [asdict(each) for each in published.exclusions()],
        "registry": [version_to_json(version) for version in store.versions(model)],
    }
