"""Prefect tasks for steps with side effects, artifact keys, and logging without tracebacks."""

import logging
import os
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import Task

from fclip.errors import UserError

P = ParamSpec("P")
R = TypeVar("R")


def _is_no_user_error(task: Task[..., Any], run: object, state: Any) -> bool:
    error = state.data.exception if hasattr(state.data, "exception") else state.data
    return not isinstance(error, UserError)


def effect(function: Callable[P, R], *, retries: int = 0) -> Task[P, R]:
    """Return a Prefect task for a step with side effects. It is never cached; a UserError is not retried."""
    return task(
        name=function.__name__,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=10,
        retry_condition_fn=_is_no_user_error,
    )(function)


def artifact_key(kind: str, workspace: str) -> str:
    """Return an artifact key: `retrain`, `My shop` -> `retrain-my-shop`. Prefect allows a-z, 0-9 and -."""
    return f"{kind}-" + "".join(character if character.isalnum() else "-" for character in workspace.lower())


class _WithoutTraceback(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.exc_info = None
        record.exc_text = None
        return True


def without_tracebacks() -> None:
    """Stop Prefect from logging the traceback of a failure once per task and flow, unless FCLIP_DEBUG is set."""
    if os.environ.get("FCLIP_DEBUG"):
        return
    for name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine", "prefect.flow_engine"):
        logging.getLogger(name).addFilter(_WithoutTraceback())
