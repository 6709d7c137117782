"""Effect `resolve`: look at the outside world once and pin what was seen, for stages to depend on.

What is remote is mirrored into cache/mirror, conditionally: an unchanged world is asked, and not read again.
Pins are small JSON files in git: the sources, the start weights and the champion. A pin is rewritten only when
what it says has changed, so that an unchanged world makes no stage stale.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fclip.catalog.config import IngestConfig
from fclip.catalog.sources.registry import describe
from fclip.errors import UserError
from fclip.files import read_json, write_json
from fclip.models.config import StartConfig
from fclip.models.starts import describe_start
from tasks.outside import outside_of
from tasks.params import Base, load_section
from tasks.paths import Workspace

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolution:
    """Which pins changed, by their path in the workspace, and which stayed."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def resolve(workspace: Workspace) -> Resolution:
    """Pin every source, the start and the champion.

    Raises:
        UserError: a source or the start cannot be read, or the champion's pin names a version that the registry
            does not have.
    """
    ingest = load_section(workspace, "ingest", IngestConfig)
    start: StartConfig = load_section(workspace, "finetune.start", StartConfig)  # type: ignore[arg-type]
    pins: dict[Path, dict[str, Any]] = {}
    for name, dataset in ingest.datasets.items():
        outside = outside_of(workspace, ingest, name, refresh=True)
        pins[workspace.source_pin(name)] = {"dataset": name, **describe(dataset.source, outside)}
        outside.digests.save()
    pins[workspace.start_pin] = describe_start(start, root=workspace.root, cache_dir=workspace.model_cache)
    pins[workspace.champion_pin] = champion_pin(workspace)
    changed = tuple(path for path, pin in pins.items() if pin != read_pin(path))
    for path in changed:
        write_json(path, pins[path])
        logger.info("pinned %s", path.relative_to(workspace.root))
    return Resolution(
        _names(workspace, changed), _names(workspace, tuple(path for path in pins if path not in changed))
    )


def read_pin(path: Path) -> dict[str, Any]:
    """A pin's content; `{}` is one that nothing has been pinned in yet, as is a file that does not exist."""
    return dict(read_json(path)) if path.exists() else {}


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
