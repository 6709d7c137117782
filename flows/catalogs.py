"""The catalogs before training: profiled, logged, and compared with the champion's."""

import io
from collections.abc import Mapping

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from rich.console import Console

from fclip.profile.drift import Drift
from fclip.profile.profile import Profile
from fclip.profile.terminal import overview
from flows.effects import artifact_key, effect
from tasks.profile import drift, profile
from tasks.workspace.paths import Workspace

LOG_WIDTH = 120

profile_task = effect(profile)
drift_task = effect(drift, retries=2)


def look_at_catalogs(space: Workspace, name: str) -> tuple[dict[str, Profile], Drift]:
    """Profile every catalog, log that, and compare the catalogs that train with the champion's. Drift is a warning.

    Args:
        name: of the workspace, for the artifact.

    Returns:
        The profile of each dataset, and the drift.
    """
    logger = get_run_logger()
    profiles = profile_task(space)
    logger.info("catalogs (pages in %s):\n%s", space.profile.parent, _overview(profiles))
    found = drift_task(space, profiles)
    for warning in found.warnings:
        logger.warning("drift: %s", warning)
    logger.info("drift: %s", found.summary)
    create_markdown_artifact(
        key=artifact_key("catalog", name),
        markdown=as_markdown(name, profiles, found),
        description="The catalogs of the last run, and their drift from the champion's",
    )
    return profiles, found


def as_markdown(name: str, profiles: Mapping[str, Profile], found: Drift) -> str:
    """The catalogs and their drift as an artifact shows them."""
    warnings = "".join(f"- {warning}\n" for warning in found.warnings)
    return f"# {name}: catalogs\n\n```\n{_overview(profiles)}\n```\n\n## Drift\n\n{found.summary}\n\n{warnings}"


def _overview(profiles: Mapping[str, Profile]) -> str:
    text = io.StringIO()
    Console(file=text, width=LOG_WIDTH, color_system=None).print(overview(profiles.values()))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
