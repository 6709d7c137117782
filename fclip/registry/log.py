"""Register a model: an MLflow run with its lineage, and a version with its weights."""

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fclip
from fclip.errors import UserError
from fclip.files import link_or_copy, sha256_tree
from fclip.registry import tags
from fclip.registry.backend import connect, experiment_id, registry_lock
from fclip.registry.store import MODEL_FOLDER, find_by_alias, find_by_weights
from fclip.runtime.manifest import MANIFEST

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Packages that a version needs to load, besides the fclip code that is stored with it. The engine torch needs more.
REQUIREMENTS = ("mlflow", "ftfy", "numpy", "onnxruntime", "pandas", "pillow", "tokenizers")
CODE = (
    *("__init__.py", "config.py", "errors.py", "files.py", "home.py", "progress.py"),
    *("features", "images", "models", "runtime"),
)
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000


@dataclass(frozen=True)
class MetricPoint:
    """One point of a metric's curve; a single value has step 0."""

    key: str
    value: float
    step: int = 0


@dataclass(frozen=True)
class RunDataset:
    """A dataset that the run read: name, digest of its catalog, roles of its splits, and source."""

    name: str
    sha256: str
    roles: str
    source: str


@dataclass(frozen=True)
class RunRecord:
    """The data that is logged with a model.

    Attributes:
        params: flat, by dotted key. points: metrics and curves. headline: the primary metrics.
        tags: `fclip.…`, set on the run and on the version.
        artifacts: (file, folder among the run's artifacts).
        description: of the version, in Markdown, with at most 5,000 characters.
    """

    params: Mapping[str, str]
    points: tuple[MetricPoint, ...]
    headline: Mapping[str, float]
    tags: Mapping[str, str]
    datasets: tuple[RunDataset, ...] = ()
    artifacts: tuple[tuple[Path, str], ...] = field(default=())
    description: str = ""


@dataclass(frozen=True)
class Receipt:
    """The result of a registration: the version with the weights `model_sha256`, and whether it was created now."""

    registered_model: str
    version: int
    model_sha256: str
    created: bool


def register_version(
    name: str, model_dir: Path, record: RunRecord, *, run_name: str, package: Callable[[Path], object] | None = None
) -> Receipt:
    """Register the open_clip folder `model_dir` as a version of `name` and give it the alias `challenger`.

    Args:
        package: writes the folder that a new version stores (`fclip.export.package`) to the given path; None: the
            version stores `model_dir` alone, and consumers cannot load it through MLflow.

    If a version with the same weights exists, no new version is created, and that version becomes the challenger unless
    it is the champion. The alias moves last.
    """
    client = connect()
    digest = sha256_tree(model_dir)
    with registry_lock(name):
        present = find_by_weights(client, name, digest)
        if present:
            chosen = next((entry for entry in present if entry.is_champion), present[0])
            number = chosen.version
        else:
            with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
                # MLflow takes the artifact's name from the source folder, and download_model reads this name.
                stored = Path(temporary) / MODEL_FOLDER
                if package:
                    package(stored)
                else:
                    shutil.copytree(model_dir, stored, copy_function=link_or_copy)
                number = _create_version(client, name, stored, digest, record, run_name)
        champion = find_by_alias(client, name, tags.CHAMPION)
        if champion is None or champion.version != number:
            client.set_registered_model_alias(name, tags.CHALLENGER, str(number))
        return Receipt(registered_model=name, version=number, model_sha256=digest, created=not present)


def _create_version(
    client: "MlflowClient", name: str, stored: Path, digest: str, record: RunRecord, run_name: str
) -> int:
    import mlflow

    labels = {**record.tags, tags.MODEL_SHA256: digest, tags.HEADLINE: json.dumps(dict(record.headline))}
    run = client.create_run(experiment_id(client, name), run_name=run_name, tags=labels)
    run_id = run.info.run_id
    with mlflow.start_run(run_id=run_id):  # marks the run as failed if anything below raises
        _log_numbers(client, run_id, record)
        for path, folder in record.artifacts:
            if path.is_file():
                client.log_artifact(run_id, str(path), folder or None)
        model_id = _log_model(name, stored, digest)
        logged = client.get_logged_model(model_id)
        if str(logged.status.value) != "READY":
            raise UserError(
                f"MLflow did not store the model {model_id} completely (status {logged.status.value}); check the free "
                "disk space for artifacts and register again"
            )
        with redirect_stderr(io.StringIO()):  # it prints what the caller logs
            created = mlflow.register_model(f"models:/{model_id}", name, tags=labels)
        if str(created.status) != "READY":
            raise UserError(f"version {created.version} of {name} is {created.status}, not READY; register again")
        client.update_model_version(name, created.version, description=record.description)
        return int(created.version)


def _log_numbers(client: "MlflowClient", run_id: str, record: RunRecord) -> None:
    from mlflow.entities import Dataset as Input
    from mlflow.entities import DatasetInput, InputTag, Metric, Param

    params = [Param(key, value) for key, value in sorted(record.params.items())]
    for first in range(0, len(params), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=params[first : first + PARAMS_PER_BATCH])
    now = client.get_run(run_id).info.start_time
    points = [Metric(point.key, point.value, now, point.step) for point in record.points]
    for first in range(0, len(points), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=points[first : first + METRICS_PER_BATCH])
    client.log_inputs(
        run_id,
        [
            # MLflow keeps 36 characters of a digest; a tag of the run has the full digest.
            DatasetInput(
                Input(dataset.name, dataset.sha256[:36], "fclip", json.dumps({"source": dataset.source})),
                [InputTag("mlflow.data.context", dataset.roles)],
            )
            for dataset in record.datasets
        ],
    )


def _log_model(name: str, stored: Path, digest: str) -> str:
    import mlflow

    from fclip.registry import pyfunc_model

    with tempfile.TemporaryDirectory(prefix="fclip-") as temporary:
        info = mlflow.pyfunc.log_model(
            name=name,
            python_model=pyfunc_model.__file__,
            artifacts={MODEL_FOLDER: str(stored)},
            code_paths=[str(_copy_code(Path(temporary)))],
            pip_requirements=requirements(),
            model_config=pyfunc_model.DEFAULTS,  # load_model(..., model_config=...) can override it
            signature=pyfunc_model.signature(),
            # MLflow runs the example, which a version without graphs cannot.
            input_example=pyfunc_model.input_example() if (stored / MANIFEST).is_file() else None,
            metadata={tags.MODEL_SHA256: digest},
        )
    return str(info.model_id)


def _copy_code(folder: Path) -> Path:
    """Copy the modules of the package that encode images and texts into `folder`; return the copy."""
    package = Path(fclip.__path__[0])
    copy = folder / package.name
    copy.mkdir()
    for part in CODE:
        if (package / part).is_dir():
            shutil.copytree(package / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(package / part, copy / part)
    return copy


def requirements() -> list[str]:
    """Return the packages that a version needs, each at its installed version without a local build suffix."""
    return [f"{package}=={installed_version(package).partition('+')[0]}" for package in REQUIREMENTS]


def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested parameters by dotted key. Values other than strings are written as JSON."""
    flat: dict[str, str] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping) and entry:
            flat |= flatten(entry, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = entry if isinstance(entry, str) else json.dumps(entry, ensure_ascii=False)
    return flat
