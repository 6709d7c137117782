"""Run, or go on with, the job in a folder: `python -m fclip.training JOB_DIR [--profile]`."""

import argparse
import logging
import os
import sys
from pathlib import Path

from fclip.errors import UserError
from fclip.training.job import run_job
from fclip.training.launch import started_by_torchrun, tell
from fclip.training.stop import Interrupted, stop_on_signals

FAILED, INTERRUPTED = 1, 75  # EX_TEMPFAIL: run it again

DESCRIPTION = """\
Run the training job in a folder, or go on with one that was interrupted.
Several GPUs are used by a process each; `torchrun --nproc-per-node N -m fclip.training JOB_DIR` does the same by hand.
Exit codes: 0 done, 1 refused, 2 wrong usage, 75 told to stop (run it again to go on).
"""


def main(arguments: list[str]) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fclip.training", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", type=Path, metavar="JOB_DIR")
    parser.add_argument("--profile", action="store_true", help="leave a trace of a few steps in JOB_DIR/profile")
    options = parser.parse_args(arguments)
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        with stop_on_signals() as stop:
            out = run_job(options.job, stop=stop, trace=options.job / "profile" if options.profile else None)
    except UserError as error:
        logging.error("%s", error)
        _tell(options.job, "refused", error)
        return FAILED
    except Interrupted as error:
        logging.error("%s", error)
        _tell(options.job, "interrupted", error)
        return INTERRUPTED
    logging.info("%s", out)
    return 0


def _tell(folder: Path, outcome: str, error: Exception) -> None:
    if started_by_torchrun():
        tell(folder, outcome, str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
