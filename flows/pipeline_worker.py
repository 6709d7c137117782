"""The process that runs DVC stages: `python -m flows.pipeline_worker` in the root of a workspace.

It reads names of stages from standard input and runs each with DVC, so that DVC is imported once for all stages of a
run. The output of a stage goes to standard output; after each stage follows a line with its `StageOutcome`. The process
ends with its standard input; so when the flow is killed, it finishes the current stage first.
"""

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from fclip.progress import MARK

PREFIX = f"{MARK}stage "


@dataclass(frozen=True)
class StageOutcome:
    """How DVC ended a stage.

    Attributes:
        changed: whether the stage ran or its outputs came from DVC's cache; False if it was up to date.
        error: why it failed; empty if it did not.
    """

    stage: str
    changed: bool
    error: str = ""

    def to_line(self) -> str:
        """The line for `from_line`."""
        return PREFIX + json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> "StageOutcome | None":
        """Return the outcome in a line of output; None for any other line."""
        return cls(**json.loads(line.removeprefix(PREFIX))) if line.startswith(PREFIX) else None


def main() -> None:
    """Run the stages that standard input names, one at a time."""
    commands = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # stages must not read the names
    from flows.pipeline import quiet_dvc
    from tasks.workspace.lock import lock
    from tasks.workspace.paths import Workspace

    workspace = Workspace.here()
    os.environ["PYTHONPATH"] = str(workspace.root)  # for the stages; this process may run the code of another workspace
    with lock(workspace.pipeline_lock, "the pipeline"):
        from dvc.repo import Repo

        quiet_dvc()  # the run names the stages itself
        repo = Repo(str(workspace.root), _wait_for_lock=True)
        for line in commands:
            print(_run(repo, line.strip()).to_line(), flush=True)


def _run(repo: Any, stage: str) -> StageOutcome:
    from dvc.exceptions import DvcException

    try:
        return StageOutcome(stage, changed=bool(repo.reproduce(stage, single_item=True)))
    except DvcException as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        return StageOutcome(stage, changed=False, error=str(cause) or str(error))


if __name__ == "__main__":
    main()
