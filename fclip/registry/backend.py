"""The location of the registry and its client. MLflow is imported by the first call, not by this module."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fclip.files import signatures
from fclip.home import fclip_home

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
EXPERIMENT_ARTIFACTS = "artifacts"


def tracking_uri() -> str:
    """Return `$MLFLOW_TRACKING_URI`, otherwise the address of the embedded SQLite store in `fclip_home()`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{fclip_home() / 'mlflow.db'}"


def database_state() -> Any | None:
    """Return the signature of the SQLite store; None for other stores, and while the file may be changing."""
    database = _database(tracking_uri())
    if database is None or any(Path(f"{database}{suffix}").exists() for suffix in ("-journal", "-wal")):
        return None
    return signatures([database])


def connect() -> "MlflowClient":
    """Return a client for tracking and registry at `tracking_uri()`, and make MLflow's functions use the same address.

    An SQLite store is created or migrated to the schema of the installed MLflow, under a file lock.
    """
    mlflow = _import_mlflow()
    uri = tracking_uri()
    _prepare(uri)
    # Without an explicit address, MLflow would use ./mlruns in the current folder if it exists.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_id(client: "MlflowClient", name: str) -> str:
    """Return the id of the experiment `name`; create the experiment if it does not exist.

    With an SQLite store, its artifacts are stored next to the database, not in ./mlruns, which is MLflow's default.
    """
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            client.restore_experiment(experiment.experiment_id)
        return str(experiment.experiment_id)
    database = _database(tracking_uri())
    if database is None:
        return str(client.create_experiment(name))
    return str(client.create_experiment(name, (database.parent / EXPERIMENT_ARTIFACTS / name).as_uri()))


@contextmanager
def registry_lock(name: str) -> Iterator[None]:
    """Lock the registered model `name` against other registrations, promotions and rollbacks on this machine.

    For aliases the last write wins, so code that reads an alias in order to move it must hold this lock. Waits until
    the lock is free.
    """
    with _file_lock(fclip_home() / "locks" / f"{name}.lock"):
        yield


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _import_mlflow():  # type: ignore[no-untyped-def]
    # MLflow reads these variables when it is imported. Values set by the user are kept.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _database(uri: str) -> Path | None:
    """Return the database file of an SQLite address; None for other addresses."""
    return Path(uri.removeprefix(SQLITE)).resolve() if uri.startswith(SQLITE) else None


@cache
def _prepare(uri: str) -> None:
    database = _database(uri)
    if database is None:
        return
    from mlflow.db import upgrade

    with _file_lock(database.with_suffix(".lock")):
        assert upgrade.callback is not None
        upgrade.callback(uri)  # the same as `mlflow db upgrade`, in this process
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
