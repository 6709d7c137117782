"""The folders of starts: of what pins/start.json pins, for the stages that start from it, and of any other.

A warm start's pin is `{"kind": "champion", "champion": {…} | null, "otherwise": {…}, "model_sha256"}`: the registry
version that it starts from, as pins/champion.json names one, or null while there was none; and the pin of the start
that it would otherwise have. The version has a `rows_sha256` too, of the file that lists what it was trained on.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_path, link_or_copy, sha256_file
from fclip.models.config import ChampionStart, ColdStart, StartConfig
from fclip.models.starts import describe_start, fetch_start, require_pinned
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin
from tasks.workspace.weights import find_model


def start_folder(workspace: Workspace, start: ColdStart) -> Path:
    """The folder of a start as it is now, pinned or not: composed or fetched, and kept in cache/models.

    Raises:
        UserError: it cannot be had.
    """
    pin = describe_start(start, root=workspace.root, cache_dir=workspace.model_cache)
    folder: Path = workspace.model_cache / pin["model_sha256"]
    return folder


def find_start(workspace: Workspace) -> Path:
    """What fine-tuning starts from, in cache/models under its digest; fetched where the cache does not have it.

    Raises:
        UserError: it is not pinned, or another one is, or its weights are nowhere to be had.
    """
    pin, champion, cold = _pinned(workspace)
    return _champion(workspace, champion) if champion else _fetch(workspace, pin, cold)


def find_untuned(workspace: Workspace) -> Path | None:
    """The start that the champions of a warm start came from at first, as `find_start`; None where it is the start."""
    pin, champion, cold = _pinned(workspace)
    return _fetch(workspace, pin, cold) if champion else None


def find_rows(workspace: Workspace) -> Path | None:
    """The rows that the champion was trained on, as `fclip.training.seen_rows` writes them; None where nobody knows.

    Raises:
        UserError: as `find_start`, or they are neither cached nor in the registry as they were pinned.
    """
    _, champion, _ = _pinned(workspace)
    digest = champion["rows_sha256"] if champion else None
    if not champion or not digest:
        return None
    path = workspace.champion_rows(digest)
    if (not path.is_file() or sha256_file(path) != digest) and keep_rows(workspace, champion) != digest:
        raise UserError(
            f"version {champion['version']} of {champion['registered_model']} does not have the rows that are pinned "
            f"({digest[:12]}): run `fclip pin --follow-champion`"
        )
    return path


def keep_rows(workspace: Workspace, pin: dict[str, Any]) -> str | None:
    """Fetch into the cache what the registry says that a version was trained on; its digest, or None without it."""
    from fclip.registry.store import download_artifact  # mlflow takes seconds to import

    with TemporaryDirectory(prefix="fclip-") as temporary:
        found = download_artifact(pin, workspace.trained_rows.name, Path(temporary))
        if found is None:
            return None
        digest = sha256_file(found)
        with atomic_path(workspace.champion_rows(digest)) as kept:
            shutil.copyfile(found, kept)
        return digest


def _pinned(workspace: Workspace) -> tuple[dict[str, Any], dict[str, Any] | None, ColdStart]:
    """The pin of the start that is no champion, the champion's where that is the start, and the former's config."""
    config: StartConfig = load_section(workspace, "finetune.start", StartConfig)  # type: ignore[arg-type]
    pin = read_pin(workspace.start_pin)
    if not isinstance(config, ChampionStart):
        require_pinned(pin, config)
        return pin, None, config
    if pin and pin["kind"] != config.kind:
        raise UserError("finetune.start in params.yaml is not what pins/start.json holds: run `fclip pin`")
    require_pinned(pin.get("otherwise", {}), config.otherwise)
    return pin["otherwise"], pin["champion"], config.otherwise


def _fetch(workspace: Workspace, pin: dict[str, Any], config: ColdStart) -> Path:
    return fetch_start(pin, config, root=workspace.root, cache_dir=workspace.model_cache)


def _champion(workspace: Workspace, pin: dict[str, Any]) -> Path:
    """The version's folder in the cache: where the selected model is the same, it is soon another."""
    cached = workspace.model_cache / pin["model_sha256"]
    found = find_model(workspace, pin["model_sha256"], pin)
    if found != cached:
        with atomic_dir(cached) as temporary:
            shutil.copytree(found, temporary, dirs_exist_ok=True, copy_function=link_or_copy)
    return cached
