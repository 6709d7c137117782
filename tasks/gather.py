"""Stage `gather`: join the products of the training datasets in one table.

    python -m tasks.gather

Reads every catalog and its captions; writes data/training/products.parquet, which refers to images by digest. The
stages that depend on this table stay up to date if a dataset without training data changes: `gather` runs again but
writes the same bytes. Images that two datasets share under different roles are an error here, before training.
"""

import logging
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.catalog.roles import Roles, SplitPictures, require_one_role_per_picture
from fclip.errors import UserError
from fclip.files import atomic_dir
from tasks.workspace.params import read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import read_roles

logger = logging.getLogger(__name__)


def main(workspace: Workspace) -> None:
    """Write `dataset, product_id, split, images, captions, category` of all training datasets, by name."""
    datasets = read_roles(workspace)
    names = sorted(name for name, roles in datasets.items() if roles.trains)
    if not names:
        raise UserError("params.yaml: ingest.datasets: no dataset has a split with the role `train`; add one")
    require_one_role_per_picture(
        pictures for name, roles in datasets.items() for pictures in _pictures(workspace, name, roles)
    )
    templates = read_params(workspace.params)["caption"]["datasets"]
    heads = {name: (own or {}).get("head") for name, own in templates.items()}
    table = pa.concat_tables([_products(workspace, name, heads.get(name)) for name in names])
    with atomic_dir(workspace.training) as temporary:
        pq.write_table(table, temporary / "products.parquet", compression="zstd")
    counts = {split: pc.sum(pc.equal(table["split"], split)).as_py() for split in ("train", "val", "test")}
    logger.info("Gathered %d products of %s: %s", table.num_rows, ", ".join(names), counts)


def _pictures(workspace: Workspace, name: str, roles: Roles) -> Iterator[SplitPictures]:
    table = pq.read_table(workspace.catalog(name) / "products.parquet", columns=["split", "images"])
    for split, role in roles.by_split.items():
        images = table.filter(pc.equal(table["split"], split))["images"]
        yield SplitPictures(name, split, role, pc.list_flatten(images).to_pylist())


def _products(workspace: Workspace, dataset: str, head: str | None) -> pa.Table:
    """The products of a dataset. Their category is the attribute `head` of the caption config."""
    path = workspace.catalog(dataset) / "products.parquet"
    products = pq.read_table(path, columns=["product_id", "split", "images", "attributes"]).sort_by("product_id")
    attributes = products["attributes"].combine_chunks()
    no_category = pa.nulls(products.num_rows, pa.string())
    category = no_category if head is None else pc.map_lookup(attributes, head, "first").cast(pa.string())
    products = products.drop_columns("attributes")
    captions = pq.read_table(workspace.captions(dataset), columns=["product_id", "captions"]).sort_by("product_id")
    if products["product_id"] != captions["product_id"]:
        raise UserError(
            f"{dataset}: the captions do not match the products of the catalog; run `dvc repro caption@{dataset}`"
        )
    joined = products.append_column("captions", captions["captions"]).append_column("category", category)
    return joined.add_column(0, "dataset", pa.array([dataset] * joined.num_rows, pa.string()))


if __name__ == "__main__":
    run_stage("gather", main)
