"""How long the steps of the fine-tuning took: of the result that is in models/finetune, and of no other."""

from pathlib import Path

from fclip.files import sha256_file
from tasks.paths import Workspace


def timings_of(workspace: Workspace) -> Path:
    """The file of `step, seconds, wait_seconds, samples`; not there where the result came from DVC's cache."""
    return workspace.timings / f"finetune-{sha256_file(workspace.finetune / 'candidates.json')[:16]}.csv"
