"""Stage `ingest@<dataset>`: any source -> data/catalog/<dataset>, data/images/<dataset>.

python -m tasks.ingest DATASET
"""

import argparse

from fclip.catalog.build import build_catalog
from fclip.catalog.config import IngestConfig
from fclip.catalog.pin import SourcePin
from fclip.catalog.summary import IngestSummary
from fclip.errors import UserError
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.pins import read_pin
from tasks.workspace.process import run_stage
from tasks.workspace.sources import source_access


def ingest(workspace: Workspace, dataset: str) -> IngestSummary:
    """Ingest `dataset` from its pinned source and return the counts.

    Raises:
        UserError: the dataset is unknown or not pinned, or its source cannot be read or changed since it was pinned.
    """
    config = load_section(workspace, "ingest", IngestConfig)
    if dataset not in config.datasets:
        known = ", ".join(config.datasets)
        raise UserError(f"ingest.datasets of {workspace.params}: no dataset `{dataset}`; it has {known}")
    return build_catalog(
        config,
        dataset=dataset,
        access=source_access(workspace, config, dataset, refresh=False),
        pin=read_pin(workspace.source_pin(dataset), SourcePin.from_json),
        catalog_dir=workspace.catalog(dataset),
        images_dir=workspace.images(dataset),
        cache_dir=workspace.ingest_cache(dataset),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.ingest", description=__doc__)
    parser.add_argument("dataset", help="a name in ingest.datasets of params.yaml")
    dataset = parser.parse_args().dataset
    run_stage(f"ingest@{dataset}", lambda workspace: ingest(workspace, dataset))
