"""Stage `audit`: audit the base model and the selected model on the reported products of every in-domain dataset.

    python -m tasks.audit

Reads models/finetune (the base model), models/selected, the catalogs, captions and image packs, and the derived
datasets that are made of the in-domain datasets. Writes reports/audits.json.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from fclip.audits.attributes import find_attributes, require_attributes
from fclip.audits.config import AuditConfig
from fclip.audits.data import AuditData
from fclip.audits.result import AuditResult, write_audits
from fclip.audits.run import AuditedSplit, audit_models
from fclip.errors import UserError
from fclip.evaluation.bootstrap import Resampling
from fclip.evaluation.catalog import Catalog, DatasetFiles, read_catalog
from fclip.evaluation.config import DatasetEvaluation
from fclip.models.candidates import BASE_MODEL
from tasks.evaluate import dataset_files, run_options
from tasks.workspace.params import load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.process import run_stage
from tasks.workspace.roles import controls, made_of, read_derived, read_roles

logger = logging.getLogger(__name__)

REPORT = "report"


def main(workspace: Workspace) -> None:
    """Audit the base model and the selected model, and write the results.

    Raises:
        UserError: no model is selected, or files of a dataset are missing.
    """
    if not workspace.selected.is_dir():
        raise UserError(f"{workspace.selected} is missing; run `dvc repro select`")
    models = {BASE_MODEL: workspace.candidate(BASE_MODEL), "selected": workspace.selected}
    write_audits(workspace.audits, audit_in_domain(workspace, models))


def audit_in_domain(workspace: Workspace, models: Mapping[str, Path]) -> tuple[AuditResult, ...]:
    """Audit each of `models` (name -> folder) on every report split of the datasets with the role train.

    The others are compared with the model that is named `base-model`, if there is one.

    Raises:
        UserError: as in `audit_on`.
    """
    roles = read_roles(workspace)
    datasets = [name for name, own in roles.items() if own.trains and own.splits_with(REPORT)]
    if not datasets:
        logger.warning(
            "Nothing is audited: no dataset has both the role train and the role report; give a split of an in-domain "
            "dataset the role report in ingest.datasets"
        )
    return audit_on(workspace, models, datasets)


def audit_on(
    workspace: Workspace, models: Mapping[str, Path], datasets: Sequence[str], *, data: Workspace | None = None
) -> tuple[AuditResult, ...]:
    """Audit each of `models` (name -> folder) on the report splits of `datasets`.

    Args:
        workspace: its params configure the audits; its feature cache is used.
        data: the workspace that contains the datasets; None: `workspace`.

    Raises:
        UserError: a dataset has no split with the role report, its files are missing, no dataset has an attribute of
            `audit.attributes`, or a model cannot be loaded.
    """
    data = data or workspace
    config = load_section(workspace, "audit", AuditConfig)
    if data.root != workspace.root:
        config = replace(config, attributes={})  # they are of the workspace's own catalogs
    options = run_options(workspace)
    catalogs = {dataset: _catalog(data, dataset) for dataset in datasets}
    if catalogs:
        products = chain.from_iterable(catalog.products for catalog in catalogs.values())
        require_attributes(products, config.attributes)
    splits = [
        split
        for dataset, catalog in catalogs.items()
        for split in _splits(data, dataset, catalog, config, options.resampling)
    ]
    return audit_models(
        models,
        splits,
        config,
        base=BASE_MODEL if BASE_MODEL in models else None,
        cache=workspace.feature_cache,
        device=options.device,
        batch_size=options.batch_size,
    )


def _catalog(data: Workspace, dataset: str) -> Catalog:
    files = dataset_files(data, dataset)
    if REPORT not in files.roles.values():
        raise UserError(
            f"{dataset}: no split has the role report, which audits read; assign it in ingest.datasets of {data.params}"
        )
    return read_catalog(files, with_captions=files.captions.exists())


def _splits(
    data: Workspace, dataset: str, catalog: Catalog, config: AuditConfig, resampling: Resampling
) -> list[AuditedSplit]:
    """The report splits of a dataset, with the copies of its products by shift."""
    files = dataset_files(data, dataset)
    reported = [split for split, role in files.roles.items() if role == REPORT]
    derived = _derived(data, dataset)
    copies = {shift: read_catalog(own, with_captions=own.captions.exists()).products for shift, own in derived.items()}
    evaluation = load_section(data, f"evaluate.datasets.{dataset}", DatasetEvaluation)
    configured = config.attributes
    if any(evaluation.newest in product.attributes for product in catalog.products):
        configured = {"date": evaluation.newest, **configured}
    attributes = find_attributes(catalog.products, configured, evaluation.label)
    splits = []
    for split in reported:
        products = tuple(catalog.products_in(split, config.max_items))
        audited = {product.product_id for product in products}
        splits.append(
            AuditedSplit(
                AuditData(
                    dataset=dataset,
                    split=split,
                    products=products,
                    attributes=attributes,
                    resampling=resampling,
                    derived={
                        shift: tuple(product for product in copied if product.product_id in audited)
                        for shift, copied in copies.items()
                    },
                ),
                packs=(files.images, *(own.images for own in derived.values())),
            )
        )
    return splits


def _derived(workspace: Workspace, dataset: str) -> dict[str, DatasetFiles]:
    """The datasets derived from a dataset by the part that they play in audits, the first of each part.

    A scene on white ground is the control for the artefacts of cutting out (`white`); others are named by their shift.
    """
    found: dict[str, DatasetFiles] = {}
    white = controls(workspace)
    derived = read_derived(workspace)
    for name, original in made_of(workspace).items():
        if original == dataset:
            part = "white" if name in white else derived[name]["shift"]["kind"]
            found.setdefault(part, dataset_files(workspace, name))
    return found


if __name__ == "__main__":
    run_stage("audit", main)
