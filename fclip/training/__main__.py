"""Run or resume the training job in a folder: `python -m fclip.training JOB_DIR [--profile]`."""

import argparse
import logging
import os
import sys
from pathlib import Path

from fclip.errors import UserError
from fclip.training.job import run_job
from fclip.training.launch import started_by_torchrun, write_outcome
from fclip.training.stop import Interrupted, stop_on_signals

FAILED, INTERRUPTED = 1, 75  # 75 is EX_TEMPFAIL: the same command can be run again

DESCRIPTION = """\
Run the training job in a folder, or resume it after an interruption.
One process per GPU is started. `torchrun --nproc-per-node N -m fclip.training JOB_DIR` does the same by hand.
Exit codes: 0 finished, 1 error, 2 wrong usage, 75 interrupted (run the same command again to resume).
"""


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fclip.training", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("job", type=Path, metavar="JOB_DIR")
    parser.add_argument(
        "--profile", action="store_true", help="write a profiler trace of a few steps to JOB_DIR/profile"
    )
    options = parser.parse_args(arguments)
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", stream=sys.stderr)
    try:
        with stop_on_signals() as stop:
            out = run_job(options.job, stop=stop, trace=options.job / "profile" if options.profile else None)
    except UserError as error:
        logging.error("%s", error)
        _report_to_launcher(options.job, "refused", error)
        return FAILED
    except Interrupted as error:
        logging.error("%s", error)
        _report_to_launcher(options.job, "interrupted", error)
        return INTERRUPTED
    logging.info("%s", out)
    return 0


def _report_to_launcher(folder: Path, outcome: str, error: Exception) -> None:
    if started_by_torchrun():
        write_outcome(folder, outcome, str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
