"""Stage `evaluate-derived@<name>`: evaluate all candidates, including the base model, on one derived dataset.

    python -m tasks.evaluate_derived NAME

Reads models/finetune, models/average, data/derived/<name>, and the catalog and captions of its original. Writes
reports/evaluation/<name>.parquet and reports/evaluation/<name>.draws.parquet, without rows if the dataset is too small
or only the control of an audit. Tables without rows contain the digest of the products, so that the stage `audit`
runs again if they change.
"""

import argparse
import logging

from fclip.errors import UserError
from fclip.evaluation.table import DRAWS, SCHEMA
from fclip.files import sha256_file
from fclip.shifts.counts import read_counts
from tasks.evaluate import evaluate, write_tables
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import controls, made_of

logger = logging.getLogger(__name__)


def evaluate_derived(workspace: Workspace, name: str) -> None:
    """Evaluate all candidates on the derived dataset `name`. Splits with too few products are left out.

    Raises:
        UserError: the dataset is unknown or not made yet, or the candidates are missing.
    """
    if name not in (known := made_of(workspace)):
        raise UserError(
            f"derive.datasets of {workspace.params}: no dataset `{name}`; it has {', '.join(known) or 'none'}"
        )
    counts = read_counts(workspace.derived(name))
    if counts.problem:
        logger.warning("%s: %s", name, counts.problem)
    control = name in controls(workspace)
    if control:
        logger.info("%s is a control, which only the audits read; candidates are not evaluated on it", name)
    if counts.evaluated_roles and not control:
        evaluate(workspace, name)
    else:
        # The stage `audit` depends on the tables alone, so tables without rows say which products there are.
        products = {"products": sha256_file(workspace.derived(name) / "products.parquet")}
        empty = (schema.with_metadata(products).empty_table() for schema in (SCHEMA, DRAWS))
        write_tables(workspace, name, *empty)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluate_derived", description=__doc__)
    parser.add_argument("name", help="a name in derive.datasets of params.yaml")
    name = parser.parse_args().name
    run_stage(f"evaluate-derived@{name}", lambda workspace: evaluate_derived(workspace, name))
