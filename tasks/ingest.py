"""Ingest one dataset: any source -> data/catalog/<dataset>, data/images/<dataset>.

python -m tasks.ingest DATASET
"""

import argparse

from fclip.catalog.build import build_catalog
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.summary import IngestSummary
from fclip.errors import UserError
from fclip.mirror.file_digests import FileDigests
from fclip.mirror.source_access import SourceAccess
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin
from tasks.workspace.process import run_stage


def ingest(workspace: Workspace, dataset: str) -> IngestSummary:
    """Ingest `dataset` as the workspace's params say; raises UserError for what a user can mend."""
    config = load_section(workspace, "ingest", IngestConfig)
    if dataset not in config.datasets:
        known = ", ".join(config.datasets)
        raise UserError(f"no dataset `{dataset}` in ingest.datasets of {workspace.params}: it has {known}")
    return build_catalog(
        config,
        dataset=dataset,
        access=source_access(workspace, config, dataset, refresh=False),
        pin=read_pin(workspace.source_pin(dataset), SourcePin.from_json),
        catalog_dir=workspace.catalog(dataset),
        images_dir=workspace.images(dataset),
        cache_dir=workspace.ingest_cache(dataset),
    )


def source_access(workspace: Workspace, config: IngestConfig, dataset: str, *, refresh: bool) -> SourceAccess:
    """Where the source of `dataset` lies; `refresh`: whether what is mirrored is asked for changes."""
    return SourceAccess(
        workspace.root,
        workspace.mirror,
        config.download,
        refresh=refresh,
        limit=config.settings.limit,
        digests=FileDigests(workspace.ingest_cache(dataset) / "files.parquet"),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.ingest", description=__doc__)
    parser.add_argument("dataset", help="a name in ingest.datasets of params.yaml")
    dataset = parser.parse_args().dataset
    run_stage(f"ingest@{dataset}", lambda workspace: ingest(workspace, dataset))
