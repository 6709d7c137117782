"""The pipeline as DVC sees it: the stages in order, which of them are stale, and the environment that they run in.

This module only reads. Reading by DVC's API is safe within a process; running a stage is not (flows/stage.py).
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tasks.workspace.paths import Workspace


@dataclass(frozen=True)
class Pipeline:
    """The stages of dvc.yaml in an order that their dependencies allow, and those that `dvc status` calls stale."""

    stages: tuple[str, ...]
    parents: dict[str, frozenset[str]]
    stale: frozenset[str]

    def to_run(self, *, wanted: frozenset[str] | None = None) -> tuple[str, ...]:
        """The stale stages and all that come after them, in order, within `wanted` (None: all).

        A stage after a stale one may turn out unchanged; it decides for itself when its turn comes.
        """
        chosen: set[str] = set()
        for stage in self.stages:
            if stage in self.stale or self.parents[stage] & chosen:
                chosen.add(stage)
        return tuple(stage for stage in self.stages if stage in chosen and (wanted is None or stage in wanted))

    def up_to(self, stage: str) -> frozenset[str]:
        """`stage` and all that it depends on."""
        found = {stage}
        for name in reversed(self.stages):
            if any(name in self.parents[child] for child in found):
                found.add(name)
        return frozenset(found)


def read_pipeline(workspace: Workspace) -> Pipeline:
    """Ask DVC once; takes about a second, and reads no data that its own index knows to be unchanged."""
    import networkx
    from dvc.repo import Repo

    with Repo(str(workspace.root)) as repo:
        graph = repo.index.graph
        names = {stage: stage.addressing.rsplit(":", 1)[-1] for stage in graph.nodes}
        order = [names[stage] for stage in networkx.lexicographical_topological_sort(graph.reverse(), names.get)]
        parents = {names[stage]: frozenset(names[parent] for parent in graph.successors(stage)) for stage in graph}
        stale = frozenset(address.rsplit(":", 1)[-1] for address in repo.status())
    return Pipeline(tuple(order), parents, stale)


def stage_environment() -> dict[str, str]:
    """The environment of a stage: this interpreter first on the path, so that `python` in dvc.yaml is this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "true"}
