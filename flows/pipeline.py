"""The DVC pipeline: its stages in order, the stale stages, and the environment in which stages run.

This module only reads. The DVC API is safe for reading within this process, but not for running a stage; see
flows/pipeline_worker.py.
"""

import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from fclip.errors import UserError
from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Pipeline:
    """The stages of dvc.yaml.

    Attributes:
        stages: all stages in topological order.
        parents: the direct dependencies of each stage.
        stale: the stages that `dvc status` reports as changed.
    """

    stages: tuple[str, ...]
    parents: dict[str, frozenset[str]]
    stale: frozenset[str]

    def to_run(self, *, wanted: frozenset[str] | None = None) -> tuple[str, ...]:
        """Return the stale stages and all stages that depend on them, in order, limited to `wanted` (None: no limit).

        A stage after a stale stage may turn out to be unchanged; `dvc repro` checks it again when it runs.
        """
        to_run: set[str] = set()
        for stage in self.stages:
            if stage in self.stale or self.parents[stage] & to_run:
                to_run.add(stage)
        return tuple(stage for stage in self.stages if stage in to_run and (wanted is None or stage in wanted))

    def up_to(self, *stages: str) -> frozenset[str]:
        """Return `stages` and all their direct and indirect dependencies."""
        ancestors = set(stages)
        for name in reversed(self.stages):
            if any(name in self.parents[child] for child in ancestors):
                ancestors.add(name)
        return frozenset(ancestors)


def read_pipeline(workspace: Workspace) -> Pipeline:
    """Read the pipeline and its status from DVC. This takes about a second; DVC does not hash unchanged files again.

    Raises:
        UserError: another DVC command is running in the workspace.
    """
    import networkx
    from dvc.lock import LockError
    from dvc.repo import Repo

    quiet_dvc()
    with Repo(str(workspace.root)) as repo:
        try:
            stale = frozenset(address.rsplit(":", 1)[-1] for address in repo.status())
        except LockError:
            raise UserError(f"another DVC command is running in {workspace.root}; wait until it ends") from None
        graph = repo.index.graph
        names = {stage: stage.addressing.rsplit(":", 1)[-1] for stage in graph.nodes}
        order = [names[stage] for stage in networkx.lexicographical_topological_sort(graph.reverse(), names.get)]
        parents = {names[stage]: frozenset(names[parent] for parent in graph.successors(stage)) for stage in graph}
    return Pipeline(tuple(order), parents, stale)


def quiet_dvc() -> None:
    """Log only errors of DVC, not for example that it removed the lock of a process that was killed."""
    logging.getLogger("dvc").setLevel(logging.ERROR)


def stage_environment() -> dict[str, str]:
    """The environment of a stage. This interpreter is first in PATH, so that `python` in dvc.yaml refers to it."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}
