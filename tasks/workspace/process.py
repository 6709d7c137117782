"""The process of a stage: it locks the workspace, checks that inputs do not change, and reports its status."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from fclip.errors import UserError
from fclip.files import sha256_file, sha256_json, write_json
from tasks.workspace.lock import lock
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace

logger = logging.getLogger(__name__)


class Preempted(Exception):
    """The process received SIGTERM and stopped. A new run resumes from its saved state."""


def run_stage(name: str, main: Callable[[Workspace], object]) -> None:
    """Run `main` as the DVC stage `name`, for example `ingest@studio`, and end the process: with 1 if it fails.

    Holds the stage lock of the workspace. Fails if the params or dependencies of the stage change during the run,
    since DVC hashes them only afterwards. Writes the outcome and the time of its work to
    `.fclip/status/<stage>.json`, since `dvc repro` swallows exit codes. A UserError is logged as one line without a
    traceback, unless FCLIP_DEBUG is set.
    """
    _keep_pyarrow_from_pandas()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _terminate)
    workspace = Workspace.here()
    began = ended_at = time.time()
    try:
        require_own_code(workspace.root)
        with lock(workspace.stage_lock, f"the stage {name}"):
            before = _inputs(workspace, name)
            began = time.time()
            main(workspace)
            ended_at = time.time()
            if changed := sorted(key for key, digest in _inputs(workspace, name).items() if before.get(key) != digest):
                raise UserError(f"{', '.join(changed)} changed while {name} ran; run the stage again")
        ended, message = "done", ""
    except UserError as error:
        ended, message = "refused", str(error)
    except Preempted as error:
        ended, message = "preempted", str(error) or "stopped; run the stage again to resume"
    except MemoryError:
        ended, message = "out of memory", "out of memory; lower `batch_size` of this section in params.yaml"
    except Exception as error:
        ended, message = "failed", f"{type(error).__name__}: {error}"
        logger.exception("%s failed", name)
    outcome = {"stage": name, "ended": ended, "message": message, "work": {"began": began, "ended": ended_at}}
    write_json(workspace.stage_status(name), outcome)
    if ended != "done":
        if os.environ.get("FCLIP_DEBUG") and ended == "refused":
            logger.exception("%s", name)
        logger.error("%s: %s: %s", name, ended, message)
        sys.exit(1)
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)  # all files are written, and the interpreter needs a second to tear down torch


class _NoPandas:
    """A finder of modules that finds no pandas."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "pandas":
            raise ImportError("pandas is not needed")


def _keep_pyarrow_from_pandas() -> None:
    """Make pyarrow look for pandas in vain. It imports pandas for its first array: seconds that no stage needs.

    pyarrow looks once. Afterwards, others may import pandas.
    """
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)


def require_own_code(root: Path) -> None:
    """Raise UserError if this code was imported from another checkout than the workspace `root`."""
    home = Path(__file__).resolve().parent.parent.parent
    if home != root.resolve():
        raise UserError(f"the running code belongs to {home}, not to the workspace {root}; run the command in {root}")


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Preempted("stopped by SIGTERM; run the stage again to resume")


def _inputs(workspace: Workspace, name: str) -> dict[str, str]:
    """Return digests of the inputs that dvc.yaml declares for the stage: files by path, params by key."""
    deps, keys = _declaration(workspace, name)
    digests = {}
    for dep in deps:
        path = workspace.root / dep
        files = sorted(path.rglob("*.py")) if path.is_dir() and not dep.startswith(("data", "models")) else [path]
        for file in files:
            # Folders in data/ and models/ are outputs of other stages. Only DVC replaces them, under its own lock.
            if file.is_file():
                digests[file.relative_to(workspace.root).as_posix()] = sha256_file(file)
    params = read_params(workspace.params)
    for key in keys:
        value: Any = params
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        digests[f"params {key}"] = sha256_json(value)
    return digests


def _declaration(workspace: Workspace, name: str) -> tuple[list[str], list[str]]:
    stage, _, dataset = name.partition("@")
    declared = yaml.safe_load(workspace.dvc_yaml.read_text(encoding="utf-8"))["stages"][stage]
    body = declared.get("do", declared)
    derived = (read_params(workspace.params).get("derive") or {}).get("datasets") or {}
    original = str((derived.get(dataset) or {}).get("of"))

    def names(field: str) -> list[str]:
        entries = map(str, body.get(field, []))
        return [entry.replace("${key}", dataset).replace("${item.of}", original) for entry in entries]

    return names("deps"), names("params")
