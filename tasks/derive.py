"""Stage `derive@<name>`: changed copies of the held-out products of a dataset -> data/derived/<name>.

    python -m tasks.derive NAME

Reads the catalog and the image packs of the original dataset; writes products, image packs and counts. The splits
with the role `report` are copied and, if params say so, those with the role `select`.
"""

import argparse

from fclip.errors import UserError
from fclip.evaluation.catalog import DatasetFiles
from fclip.shifts.config import DerivedDataset
from fclip.shifts.counts import DerivedCounts
from fclip.shifts.derive import derive as derive_dataset
from tasks.workspace.params import Base, load_section, parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import made_of, read_derived_roles


def derive(workspace: Workspace, name: str) -> DerivedCounts:
    """Make the derived dataset `name` and return its counts.

    Raises:
        UserError: the dataset is unknown, or its original is not ingested.
    """
    if name not in (known := made_of(workspace)):
        raise UserError(
            f"derive.datasets of {workspace.params}: no dataset `{name}`; it has {', '.join(known) or 'none'}"
        )
    config = load_section(workspace, f"derive.datasets.{name}", DerivedDataset)
    evaluation = read_params(workspace.params).get("evaluate", {}).get("datasets", {}).get(config.of) or {}
    limit = evaluation.get("max_items")
    original = DatasetFiles(
        config.of,
        workspace.catalog(config.of) / "products.parquet",
        workspace.captions(config.of),
        workspace.images(config.of),
        read_derived_roles(workspace)[name].by_split,
    )
    return derive_dataset(
        name,
        config.shift,
        original,
        max_items=None if limit is None else parse(f"evaluate.datasets.{config.of}.max_items", limit, int),
        seed=load_section(workspace, "base", Base).seed,
        folder=workspace.derived(name),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.derive", description=__doc__)
    parser.add_argument("name", help="a name in derive.datasets of params.yaml")
    name = parser.parse_args().name
    run_stage(f"derive@{name}", lambda workspace: derive(workspace, name))
