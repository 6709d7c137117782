"""Where the registry is, and a client for it. MLflow is imported by the first call, not by this module."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
EXPERIMENT_ARTIFACTS = "artifacts"


def home() -> Path:
    """The folder of the embedded registry: `$FCLIP_HOME`, else `fclip` in the user's data folder."""
    if chosen := os.environ.get("FCLIP_HOME"):
        return Path(chosen).expanduser().resolve()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser().resolve() / "fclip"


def tracking_uri() -> str:
    """`$MLFLOW_TRACKING_URI` (a server or a database), else the embedded SQLite store in `home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{home() / 'mlflow.db'}"


def connect() -> "MlflowClient":
    """A client of `tracking_uri()`, for tracking and registry both; MLflow's own functions use it from now on too.

    An SQLite store is created, or brought to the schema of the installed MLflow, under a file lock.
    """
    mlflow = _import_mlflow()
    uri = tracking_uri()
    _prepare(uri)
    # Always set: with nothing set, a stray ./mlruns in the current folder would change what MLflow uses.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """The experiment `name`, made where it does not exist.

    On an SQLite store its artifacts lie beside the database; without that they would land in ./mlruns.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    database = _database(tracking_uri())
    if database is None:
        return str(client.create_experiment(name))
    return str(client.create_experiment(name, (database.parent / EXPERIMENT_ARTIFACTS / name).as_uri()))


@contextmanager
def registry_lock(name: str) -> Iterator[None]:
    """Hold the registered model `name` against other registrations, promotions and rollbacks on this machine.

    Aliases are last-write-wins, so whoever reads one in order to move it holds this. Waits for its turn.
    """
    with _file_lock(home() / "locks" / f"{name}.lock"):
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _import_mlflow():  # type: ignore[no-untyped-def]
    # MLflow reads these at its import; what the user set stays.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    for talkative in ("mlflow", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    return mlflow


def _database(uri: str) -> Path | None:
    """The file of an SQLite store's URI; None for any other store."""
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


@cache
def _prepare(uri: str) -> None:
    database = _database(uri)
    if database is None:
        return
    from mlflow.db import upgrade

    with _file_lock(database.with_suffix(".lock")):
        assert upgrade.callback is not None
        upgrade.callback(uri)  # what `mlflow db upgrade` does, without starting another interpreter
        for talkative in ("mlflow", "alembic"):
            logging.getLogger(talkative).setLevel(logging.WARNING)
