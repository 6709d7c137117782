"""Run, or go on with, the job in a folder: `python -m fclip.training JOB_DIR`."""

import logging
import sys
from pathlib import Path

from fclip.errors import UserError
from fclip.training.job import run_job
from fclip.training.stop import Interrupted, stop_on_signals

USAGE, FAILED, INTERRUPTED = 2, 1, 75  # EX_TEMPFAIL: run it again


def main(arguments: list[str]) -> int:
    """Returns the exit code: 0 done, 1 refused, 2 wrong usage, 75 told to stop (run it again to go on)."""
    if len(arguments) != 1:
        print("usage: python -m fclip.training JOB_DIR", file=sys.stderr)
        return USAGE
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with stop_on_signals() as stop:
            out = run_job(Path(arguments[0]), stop=stop)
    except UserError as error:
        logging.error("%s", error)
        return FAILED
    except Interrupted as error:
        logging.error("%s", error)
        return INTERRUPTED
    logging.info("%s", out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
