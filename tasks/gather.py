"""Stage `gather`: the datasets that train, joined in one table, so that nothing else can retrain or re-embed.

    python -m tasks.gather

Reads every catalog and its captions; writes data/training/products.parquet, which names images by their digests. A
change to a dataset that only selects or reports reruns this stage alone, which writes the same bytes.
"""

import logging

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.files import atomic_dir
from tasks.params import read_params
from tasks.paths import Workspace
from tasks.process import run_stage

logger = logging.getLogger(__name__)


def main(workspace: Workspace) -> None:
    """Join `dataset, product_id, split, images, captions` of the datasets with a `train` role, in order of name."""
    datasets = read_params(workspace.params)["ingest"]["datasets"]
    names = sorted(name for name, dataset in datasets.items() if "train" in dataset["roles"].values())
    if not names:
        raise UserError(
            "params.yaml: ingest.datasets: no dataset has a split with the role `train`: give one that role"
        )
    table = pa.concat_tables([_products(workspace, name) for name in names])
    with atomic_dir(workspace.training) as temporary:
        pq.write_table(table, temporary / "products.parquet", compression="zstd")
    counts = {split: pc.sum(pc.equal(table["split"], split)).as_py() for split in ("train", "val", "test")}
    logger.info("gather: %d products of %s: %s", table.num_rows, ", ".join(names), counts)


def _products(workspace: Workspace, dataset: str) -> pa.Table:
    products = pq.read_table(
        workspace.catalog(dataset) / "products.parquet", columns=["product_id", "split", "images"]
    ).sort_by("product_id")
    captions = pq.read_table(workspace.captions(dataset), columns=["product_id", "captions"]).sort_by("product_id")
    if products["product_id"] != captions["product_id"]:
        raise UserError(f"captions of {dataset} are not of its catalog's products: run `dvc repro caption@{dataset}`")
    joined = products.append_column("captions", captions["captions"])
    return joined.add_column(0, "dataset", pa.array([dataset] * joined.num_rows, pa.string()))


if __name__ == "__main__":
    run_stage("gather", main)
