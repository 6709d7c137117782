"""Access to the sources of a workspace."""

from fclip.catalog.config import IngestConfig
from fclip.mirror.file_digests import FileDigests
from fclip.mirror.source_access import SourceAccess
from tasks.workspace.paths import Workspace


def source_access(workspace: Workspace, config: IngestConfig, dataset: str, *, refresh: bool) -> SourceAccess:
    """Access to the source of `dataset`. `refresh`: whether to check mirrored files for changes."""
    return SourceAccess(
        workspace.root,
        workspace.mirror,
        config.download,
        refresh=refresh,
        limit=config.settings.limit,
        digests=FileDigests(workspace.ingest_cache(dataset) / "files.parquet"),
    )
