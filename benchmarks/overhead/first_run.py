"""The first run of a new workspace: where its time goes, from the timings that the run recorded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fclip.files import read_json
from tasks.workspace.paths import Workspace

MODEL_STAGES = ("finetune", "average", "evaluate", "evaluate-derived", "embed")


@dataclass(frozen=True)
class StageTime:
    """The seconds of one stage.

    Attributes:
        before: from the run's decision to the first line of the stage's work.
        after: from the end of the work to the run's next decision; 0 for the last stage before another step.
        work: between them.
        loops: the part of the work in loops that show progress: drawing, encoding, training steps, bootstrap.
    """

    stage: str
    before: float
    after: float
    work: float
    loops: float

    @property
    def overhead(self) -> float:
        return self.before + self.after

    @property
    def uses_model(self) -> bool:
        return self.stage.partition("@")[0] in MODEL_STAGES


def stage_times(workspace: Workspace) -> list[StageTime]:
    """Return the times of the stages of the last run, in the order in which they ran."""
    return list(_stage_times(read_json(workspace.stage_timings)))


def _stage_times(timings: Mapping[str, Mapping[str, Any]]) -> Iterator[StageTime]:
    ordered = sorted(timings.items(), key=lambda item: item[1]["decided"])
    following = [*(times["decided"] for _, times in ordered[1:]), None]
    for (stage, times), decided_next in zip(ordered, following, strict=True):
        # Other steps follow gather (profiles), select (registration) and embed (publication).
        after = 0.0 if decided_next is None or stage in ("gather", "select") else decided_next - times["ended"]
        yield StageTime(
            stage,
            before=times["began"] - times["decided"],
            after=after,
            work=times["ended"] - times["began"],
            loops=sum(times["loops"].values()),
        )
