"""Effect `resolve`: look at the outside world once and pin what was seen, for stages to depend on.

What is remote is mirrored into cache/mirror, conditionally: an unchanged world is asked, and not read again.
Pins are small JSON files in git: the sources, the base model weights and the champion. A pin is rewritten only when
what it says has changed, so that an unchanged world makes no stage stale.

A warm start follows the champion when there is something new to learn: when the source of a dataset that trains
changed, when the base model was not a warm one before, or when it is told to. Were it to follow every promotion, each model
would be the reason to train the next one, for ever.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from fclip.base_models.pinning import pin_base_model
from fclip.base_models.registry import ChampionConfig
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import current_pin
from fclip.errors import UserError
from fclip.registry.versions import VersionPin
from tasks.base_model import AnyBaseModelPin, WarmStartPin, base_model_config, keep_rows, read_base_model_pin
from tasks.ingest import source_access
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import Pin, holds, read_champion, write_pin

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Resolution:
    """Which pins changed, by their path in the workspace, and which stayed."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def resolve(workspace: Workspace, *, follow_champion: bool = False) -> Resolution:
    """Pin every source, the base model and the champion.

    Args:
        follow_champion: a warm start is pinned to the present champion, though nothing that trains changed.

    Raises:
        UserError: a source or the base model cannot be read, or the champion's pin names a version that the registry
            does not have.
    """
    ingest = load_section(workspace, "ingest", IngestConfig)
    sources: dict[Path, Pin] = {}
    for name, dataset in ingest.datasets.items():
        access = source_access(workspace, ingest, name, refresh=True)
        sources[workspace.source_pin(name)] = current_pin(name, dataset, access)
        access.digests.save()
    learns = any(not holds(path, sources[path]) for path in map(workspace.source_pin, ingest.training_datasets))
    champion = champion_pin(workspace)
    # The base model comes before the sources: after a crash in between, these still differ, so the base model follows again.
    pins: dict[Path, Pin | None] = {
        workspace.base_model_pin: base_model_pin(workspace, champion, follow=learns or follow_champion),
        **sources,
        workspace.champion_pin: champion,
    }
    changed = tuple(path for path, pin in pins.items() if write_pin(path, pin))
    for path in changed:
        logger.info("pinned %s", path.relative_to(workspace.root))
    return Resolution(
        _names(workspace, changed), _names(workspace, tuple(path for path in pins if path not in changed))
    )


def base_model_pin(workspace: Workspace, champion: VersionPin | None, *, follow: bool) -> AnyBaseModelPin:
    """What the base model's pin should say; a warm one stays at the champion that it has, unless it is to `follow`."""
    config = base_model_config(workspace)
    root, cache_dir = workspace.root, workspace.model_cache
    if not isinstance(config, ChampionConfig):
        return pin_base_model(config, root=root, cache_dir=cache_dir)
    otherwise = pin_base_model(config.otherwise, root=root, cache_dir=cache_dir)
    if not follow and isinstance(pinned := _pinned_base_model(workspace), WarmStartPin):
        return replace(pinned, otherwise=otherwise)
    return WarmStartPin(champion, keep_rows(workspace, champion) if champion else None, otherwise)


def champion_pin(workspace: Workspace) -> VersionPin | None:
    """What the champion's pin should say by the registry; None while there is no champion."""
    from fclip.registry import store  # mlflow takes seconds to import

    base = load_section(workspace, "base", Base)
    champion = store.champion(base.registered_model)
    if champion is not None:
        return champion.pin
    remedy = "or start anew with `echo '{}' > pins/champion.json`"
    try:
        pinned = read_champion(workspace)
    except UserError as error:
        raise UserError(f"pins/champion.json does not hold a pin: restore it from git, {remedy}") from error
    if pinned:
        raise UserError(
            f"pins/champion.json names {pinned.title}, but the registry at {store.tracking_uri()} has no champion of "
            f"{base.registered_model}: set MLFLOW_TRACKING_URI to the registry it came from, {remedy}"
        )
    return None


def _pinned_base_model(workspace: Workspace) -> AnyBaseModelPin | None:
    """The pin of what training starts from, which names the champion that a warm start stays at."""
    try:
        return read_base_model_pin(workspace)
    except UserError as error:
        raise UserError(
            "pins/base_model.json does not hold a pin, so it is not known which champion the warm start stays at: restore "
            "it from git, or run `fclip pin --follow-champion` to start from the present one"
        ) from error


def _names(workspace: Workspace, paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(path.relative_to(workspace.root).as_posix() for path in paths)
