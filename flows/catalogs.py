"""Profile the catalogs before training, log the profiles, and compare them with those of the champion."""

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


def profile_catalogs(space: Workspace, name: str) -> tuple[dict[str, Profile], Drift]:
    """Profile every catalog, log the profiles, and compare the training catalogs with those of the champion.

    Drift is logged as a warning and does not stop the run.

    Args:
        name: name of the workspace, for the artifact.

    Returns:
        The profile of each dataset, and the drift.
    """
    logger = get_run_logger()
    profiles = profile_task(space)
    logger.info("Profiled the catalogs (pages in %s):\n%s", space.profile.parent, _overview(profiles))
    measured_drift = drift_task(space, profiles)
    for warning in measured_drift.warnings:
        logger.warning("Drift: %s", warning)
    logger.info("Drift: %s", measured_drift.summary)
    create_markdown_artifact(
        key=artifact_key("catalog", name),
        markdown=catalogs_markdown(name, profiles, measured_drift),
        description="Catalogs of the last run, and their drift since the champion",
    )
    return profiles, measured_drift


def catalogs_markdown(name: str, profiles: Mapping[str, Profile], drift: Drift) -> str:
    """The profiles and the drift as Markdown for the Prefect artifact."""
    warnings = "".join(f"- {warning}\n" for warning in drift.warnings)
    return f"# {name}: catalogs\n\n```\n{_overview(profiles)}\n```\n\n## Drift\n\n{drift.summary}\n\n{warnings}"


def _overview(profiles: Mapping[str, Profile]) -> str:
    text = io.StringIO()
    Console(file=text, width=LOG_WIDTH, color_system=None).print(overview(profiles.values()))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())
