"""Effect `resolve`: look at the outside world once and pin what was seen, for stages to depend on.

What is remote is mirrored into cache/mirror, conditionally: an unchanged world is asked, and not read again.
Pins are small JSON files in git: the sources, the start weights and the champion. A pin is rewritten only when
what it says has changed, so that an unchanged world makes no stage stale.

A warm start follows the champion when there is something new to learn: when the source of a dataset that trains
changed, when the start was not a warm one before, or when it is told to. Were it to follow every promotion, each model
would be the reason to train the next one, for ever.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import pin_of
from fclip.errors import UserError
from fclip.files import write_json
from fclip.models.config import ChampionStart, StartConfig
from fclip.models.starts import describe_start
from tasks.ingest import outside_of
from tasks.start import keep_rows
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolution:
    """Which pins changed, by their path in the workspace, and which stayed."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def resolve(workspace: Workspace, *, follow_champion: bool = False) -> Resolution:
    """Pin every source, the start and the champion.

    Args:
        follow_champion: a warm start is pinned to the present champion, though nothing that trains changed.

    Raises:
        UserError: a source or the start cannot be read, or the champion's pin names a version that the registry
            does not have.
    """
    ingest = load_section(workspace, "ingest", IngestConfig)
    sources: dict[Path, dict[str, Any]] = {}
    for name, dataset in ingest.datasets.items():
        outside = outside_of(workspace, ingest, name, refresh=True)
        sources[workspace.source_pin(name)] = pin_of(name, dataset, outside)
        outside.digests.save()
    trains = [name for name, dataset in ingest.datasets.items() if "train" in dataset.roles.values()]
    learns = any(sources[path] != read_pin(path) for path in map(workspace.source_pin, trains))
    champion = champion_pin(workspace)
    pins = {  # the start before the sources: a crash in between leaves them changed, to be followed again
        workspace.start_pin: start_pin(workspace, champion, follow=learns or follow_champion),
        **sources,
        workspace.champion_pin: champion,
    }
    changed = tuple(path for path, pin in pins.items() if pin != read_pin(path))
    for path in changed:
        write_json(path, pins[path])
        logger.info("pinned %s", path.relative_to(workspace.root))
    return Resolution(
        _names(workspace, changed), _names(workspace, tuple(path for path in pins if path not in changed))
    )


def start_pin(workspace: Workspace, champion: dict[str, Any], *, follow: bool) -> dict[str, Any]:
    """What the start's pin should say; a warm one stays at the champion that it has, unless it is to `follow`."""
    config: StartConfig = load_section(workspace, "finetune.start", StartConfig)  # type: ignore[arg-type]
    where = {"root": workspace.root, "cache_dir": workspace.model_cache}
    if not isinstance(config, ChampionStart):
        return describe_start(config, **where)
    otherwise = describe_start(config.otherwise, **where)
    pinned = read_pin(workspace.start_pin)
    if pinned.get("kind") == config.kind and not follow:
        version = pinned["champion"]
    else:
        version = {**champion, "rows_sha256": keep_rows(workspace, champion)} if champion else None
    return {
        "kind": config.kind,
        "champion": version,
        "otherwise": otherwise,
        "model_sha256": (version or otherwise)["model_sha256"],
    }


def champion_pin(workspace: Workspace) -> dict[str, Any]:
    """What the champion's pin should say by the registry: `{}` while there is no champion."""
    from fclip.registry import store  # mlflow takes seconds to import

    base = load_section(workspace, "base", Base)
    champion = store.champion(base.registered_model)
    pinned = read_pin(workspace.champion_pin)
    if champion is None and pinned:
        raise UserError(
            f"pins/champion.json names version {pinned.get('version')} of {pinned.get('registered_model')}, but the "
            f"registry at {store.tracking_uri()} has no champion of {base.registered_model}: set MLFLOW_TRACKING_URI "
            "to the registry it came from, or start anew with `echo '{}' > pins/champion.json`"
        )
    return champion.pin if champion else {}


def _names(workspace: Workspace, paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(path.relative_to(workspace.root).as_posix() for path in paths)
