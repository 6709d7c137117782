"""The step `resolve`: pin the current versions of the sources, the base model and the champion.

Remote sources are mirrored into cache/mirror with conditional requests, so that unchanged files are not downloaded
again. Pins are small JSON files in git. A pin is rewritten only if its content changed; so unchanged inputs make no
stage stale.

A warm start moves to the current champion only if the source of a training dataset changed, if no warm start was pinned
before, or with `follow_champion`. If it followed every promotion, each new champion would trigger the next training.
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
from tasks.base_model import AnyBaseModelPin, WarmStartPin, base_model_config, cache_trained_rows, read_base_model_pin
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import Pin, contains_pin, read_champion, write_pin
from tasks.workspace.sources import source_access

logger = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Resolution:
    """The paths of the changed and of the unchanged pins, relative to the workspace."""

    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def resolve(workspace: Workspace, *, follow_champion: bool = False) -> Resolution:
    """Pin every source, the base model and the champion.

    Args:
        follow_champion: pin the current champion as warm start even if no training data changed.

    Raises:
        UserError: a source or the base model cannot be read, or the registry has no champion but the pin names one.
    """
    ingest = load_section(workspace, "ingest", IngestConfig)
    sources: dict[Path, Pin] = {}
    for name, dataset in ingest.datasets.items():
        access = source_access(workspace, ingest, name, refresh=True)
        sources[workspace.source_pin(name)] = current_pin(name, dataset, access)
        access.digests.save()
    is_new_data = any(
        not contains_pin(path, sources[path]) for path in map(workspace.source_pin, ingest.training_datasets)
    )
    champion = resolve_champion(workspace)
    # The base model is written before the sources: after a crash in between, the sources still differ from their pins,
    # so that the next run moves the warm start again.
    pins: dict[Path, Pin | None] = {
        workspace.base_model_pin: resolve_base_model(workspace, champion, follow=is_new_data or follow_champion),
        **sources,
        workspace.champion_pin: champion,
    }
    changed = tuple(path for path, pin in pins.items() if write_pin(path, pin))
    for path in changed:
        logger.info("Pinned %s", path.relative_to(workspace.root))
    return Resolution(
        _names(workspace, changed), _names(workspace, tuple(path for path in pins if path not in changed))
    )


def resolve_base_model(workspace: Workspace, champion: VersionPin | None, *, follow: bool) -> AnyBaseModelPin:
    """Return the new pin of the base model. A pinned warm start keeps its champion unless `follow` is set."""
    config = base_model_config(workspace)
    root, cache_dir = workspace.root, workspace.model_cache
    if not isinstance(config, ChampionConfig):
        return pin_base_model(config, root=root, cache_dir=cache_dir)
    otherwise = pin_base_model(config.otherwise, root=root, cache_dir=cache_dir)
    if not follow and isinstance(pinned := _pinned_base_model(workspace), WarmStartPin):
        return replace(pinned, otherwise=otherwise)
    return WarmStartPin(champion, cache_trained_rows(workspace, champion) if champion else None, otherwise)


def resolve_champion(workspace: Workspace) -> VersionPin | None:
    """Return the champion of the registry as a pin; None if there is no champion.

    Raises:
        UserError: the champion pin is invalid, or names a version although the registry has no champion.
    """
    from fclip.registry import store  # mlflow takes seconds to import

    base = load_section(workspace, "base", Base)
    champion = store.champion(base.registered_model)
    if champion is not None:
        return champion.pin
    remedy = "or start without a champion with `echo '{}' > pins/champion.json`"
    try:
        pinned = read_champion(workspace)
    except UserError as error:
        raise UserError(f"pins/champion.json contains no valid pin; restore it from git, {remedy}") from error
    if pinned:
        raise UserError(
            f"pins/champion.json names {pinned.title}, but the registry at {store.tracking_uri()} has no champion of "
            f"{base.registered_model}; set MLFLOW_TRACKING_URI to the registry of the pinned version, {remedy}"
        )
    return None


def require_champion(workspace: Workspace) -> None:
    """Raise UserError if the registry has no champion, or as in `resolve_champion`."""
    if resolve_champion(workspace) is None:
        name = load_section(workspace, "base", Base).registered_model
        raise UserError(f"{name} has no champion to embed the catalog with; run `fclip retrain` first")


def _pinned_base_model(workspace: Workspace) -> AnyBaseModelPin | None:
    """Read the pin of the base model; the error explains that the champion of the warm start is unknown."""
    try:
        return read_base_model_pin(workspace)
    except UserError as error:
        raise UserError(
            "pins/base_model.json contains no valid pin, so the champion of the warm start is unknown; restore the "
            "file from git, or run `fclip pin --follow-champion` to start from the current champion"
        ) from error


def _names(workspace: Workspace, paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(path.relative_to(workspace.root).as_posix() for path in paths)
