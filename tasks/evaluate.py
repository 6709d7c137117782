"""Stage `evaluate@<dataset>`: evaluate all candidates, including the base model, on one dataset.

    python -m tasks.evaluate DATASET

Reads models/finetune, models/average and the catalog, captions and image packs of the dataset. Writes
reports/evaluation/<dataset>.parquet and reports/evaluation/<dataset>.draws.parquet.
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fclip.errors import UserError
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import DatasetFiles
from fclip.evaluation.config import DatasetEvaluation, EvaluateSettings
from fclip.evaluation.run import Evaluation, RunOptions, evaluate_models
from fclip.evaluation.table import EVALUATED_ROLES, draws_table, long_table
from fclip.files import atomic_path
from fclip.models.candidates import read_candidates
from fclip.models.store import ModelLoader
from fclip.shifts.counts import read_counts
from tasks.workspace.params import Base, load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import made_of

logger = logging.getLogger(__name__)


def evaluate(workspace: Workspace, dataset: str) -> None:
    """Evaluate all candidates, trained and averaged, on `dataset` and write the evaluation tables.

    Raises:
        UserError: the dataset is unknown, or its files or the candidates are missing.
    """
    require_dataset(workspace, dataset)
    candidates = read_candidates(workspace.averages / "candidates.json")
    folders = {candidate.name: workspace.candidate(candidate.name) for candidate in candidates}
    steps = {candidate.name: candidate.step for candidate in candidates}
    evaluation = evaluate_on(workspace, folders, dataset)
    write_tables(workspace, dataset, long_table(evaluation, steps), draws_table(evaluation))
    logger.info("%s", evaluation.primary_table())


def write_tables(workspace: Workspace, dataset: str, scores: pa.Table, draws: pa.Table) -> None:
    """Write the evaluation tables of a dataset."""
    for path, table in ((workspace.evaluation(dataset), scores), (workspace.evaluation_draws(dataset), draws)):
        with atomic_path(path) as temporary:
            pq.write_table(table, temporary)


def evaluate_on(
    workspace: Workspace,
    models: Mapping[str, Path],
    dataset: str,
    *,
    data: Workspace | None = None,
    config: DatasetEvaluation | None = None,
    roles: Sequence[str] = EVALUATED_ROLES,
    held_only: bool = False,
    confidence: float | None = None,
    loader: ModelLoader | None = None,
) -> Evaluation:
    """Evaluate each of `models` (name -> folder) on the splits of `dataset` that have one of `roles`.

    A derived dataset is evaluated as its original is, but only by the protocols of the held metrics.

    Args:
        workspace: its params configure how evaluation runs; its feature cache is used.
        data: the workspace that contains the dataset; None: `workspace`.
        config: the protocols; None: the protocols in the params of `data`.
        held_only: run only the protocols of the held metrics.
        confidence: level of the intervals; None: from params.
        loader: loads the models; several calls may share one, so that they reuse its model.

    Raises:
        UserError: the dataset is not ingested, no split has one of the roles, or a model cannot be loaded.
    """
    data = data or workspace
    original = made_of(data).get(dataset)
    config = config or load_section(data, f"evaluate.datasets.{original or dataset}", DatasetEvaluation)
    options = run_options(workspace)
    if confidence is not None:
        options = replace(options, resampling=replace(options.resampling, confidence=confidence))
    return evaluate_models(
        models,
        dataset_files(data, dataset),
        config.with_held_alone() if held_only or original else config,
        cache=workspace.feature_cache,
        options=options,
        roles=roles,
        loader=loader,
    )


def require_dataset(workspace: Workspace, dataset: str) -> None:
    """Raise UserError unless `evaluate.datasets` or `derive.datasets` in params.yaml contains `dataset`."""
    known = [*read_params(workspace.params).get("evaluate", {}).get("datasets", {}), *made_of(workspace)]
    if dataset not in known:
        raise UserError(f"evaluate.datasets of {workspace.params}: no dataset `{dataset}`; it has {', '.join(known)}")


def dataset_files(workspace: Workspace, dataset: str) -> DatasetFiles:
    """The paths and roles of a dataset. Of a derived dataset, splits that are too small to be evaluated have no role.

    Raises:
        UserError: the dataset is unknown, or it is derived and not made yet.
    """
    if original := made_of(workspace).get(dataset):
        folder = workspace.derived(dataset)
        return DatasetFiles(
            dataset,
            folder / "products.parquet",
            workspace.captions(original),
            folder / "images",
            read_counts(folder).evaluated_roles,
            original=workspace.catalog(original) / "products.parquet",
        )
    roles = load_section(workspace, f"ingest.datasets.{dataset}.roles", dict[str, str])
    return DatasetFiles(
        dataset,
        workspace.catalog(dataset) / "products.parquet",
        workspace.captions(dataset),
        workspace.images(dataset),
        roles,
    )


def run_options(workspace: Workspace) -> RunOptions:
    """The options of evaluation from params.yaml."""
    settings = load_section(workspace, "evaluate.settings", EvaluateSettings)
    return RunOptions(
        device=settings.device,
        batch_size=settings.batch_size,
        resampling=Resampling(
            resamples=settings.resamples,
            confidence=settings.confidence,
            seed=load_section(workspace, "base", Base).seed,
        ),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tasks.evaluate", description=__doc__)
    parser.add_argument("dataset", help="a name in evaluate.datasets of params.yaml")
    dataset = parser.parse_args().dataset
    run_stage(f"evaluate@{dataset}", lambda workspace: evaluate(workspace, dataset))
