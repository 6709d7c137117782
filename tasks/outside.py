"""What lies outside the workspace, as the effects and the stage that look at it see it."""

from fclip.catalog.config import IngestConfig
from fclip.catalog.file_digests import FileDigests
from fclip.mirror.outside import Outside
from tasks.paths import Workspace


def outside_of(workspace: Workspace, config: IngestConfig, dataset: str, *, refresh: bool) -> Outside:
    """Where the source of `dataset` lies; `refresh`: whether what is mirrored is asked for changes."""
    return Outside(
        workspace.root,
        workspace.mirror,
        config.download,
        refresh=refresh,
        limit=config.limit,
        digests=FileDigests(workspace.ingest_cache(dataset) / "files.parquet"),
    )
