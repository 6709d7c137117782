"""Prefect's log for people: what failed, without the traceback, unless it was asked for."""

import logging
import os


class _WithoutTraceback(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        record.exc_text = None
        return True


def without_tracebacks() -> None:
    """Keep Prefect's engines from printing a traceback for each task and flow that a failure passes through."""
    if os.environ.get("FCLIP_DEBUG"):
        return
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine", "prefect.flow_engine"):
        logging.getLogger(name).addFilter(_WithoutTraceback())
