"""External datasets: datasets that a workspace has not ingested, prepared in its cache to evaluate models on.

The protocols come from a params file (of another workspace, or a preset), or from the description of a published
dataset: zero-shot classification for every label set, and the retrieval tasks of its publishers.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from fclip.base_models.fclip_tiny import FclipTinyConfig
from fclip.captions.config import CaptionConfig
from fclip.catalog.build import build_catalog
from fclip.catalog.config import IngestConfig
from fclip.catalog.descriptions import Description, known_datasets, load_description
from fclip.catalog.pin import current_pin
from fclip.errors import UserError
from fclip.files import atomic_dir, atomic_write, sha256_json
from tasks.base_model import base_model_folder, find_base_model, read_base_model_pin
from tasks.caption import caption_with_model
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.sources import source_access

logger = logging.getLogger(__name__)
SECTIONS = ("ingest", "caption", "evaluate")
SPLIT = "test"


def prepare_external(
    workspace: Workspace, dataset: str, *, params: Path | None, path: Path | None, limit: int | None
) -> Workspace:
    """Return a workspace in the cache of `workspace` with the ingested and captioned `dataset`.

    A prepared workspace is reused while its source and settings do not change.

    Args:
        params: the params file whose sections `ingest`, `caption` and `evaluate` configure the dataset; relative paths
            in it are relative to `workspace`. None: `dataset` is the name of a published dataset.
        path: folder with a local copy of the published dataset; None: download it from the hub.
        limit: largest number of rows; None: as in the params, or all rows.

    Raises:
        UserError: the dataset is unknown, its files are missing, or its sections are invalid.
    """
    values = _sections_from_file(params, dataset) if params else _sections_from_description(workspace, dataset, path)
    if limit is not None:
        values["ingest"]["settings"] = {**values["ingest"].get("settings", {}), "limit": limit}
    config = parse("ingest", values["ingest"], IngestConfig)
    access = source_access(workspace, config, dataset, refresh=True)
    pin = current_pin(dataset, config.datasets[dataset], access)
    captions = parse("caption", values["caption"], CaptionConfig)
    ingested = [asdict(config.settings), asdict(config.datasets[dataset])]
    captioned = [asdict(captions.settings), asdict(captions.datasets[dataset])]
    key = sha256_json([ingested, captioned, pin.to_json()])[:12]
    prepared = Workspace(workspace.external_datasets / f"{dataset}-{key}")
    if not prepared.root.is_dir():
        with atomic_dir(prepared.root) as temporary:
            made = Workspace(temporary)
            _write_params(made, values)
            build_catalog(
                config,
                dataset=dataset,
                access=access,
                pin=pin,
                catalog_dir=made.catalog(dataset),
                images_dir=made.images(dataset),
                cache_dir=workspace.external_datasets / "ingest" / dataset,
            )
            caption_with_model(made, dataset, lambda _: _tokenizer_model(workspace))
    _write_params(prepared, values)  # the protocols may have changed since the last time
    return prepared


def _write_params(workspace: Workspace, values: dict[str, Any]) -> None:
    atomic_write(workspace.params, yaml.safe_dump(values, sort_keys=False))


def _sections_from_file(path: Path, dataset: str) -> dict[str, Any]:
    params = read_params(path)
    sections = {}
    for section in SECTIONS:
        known = params.get(section, {}).get("datasets", {})
        if dataset not in known:
            raise UserError(
                f"{section}.datasets of {path}: no dataset `{dataset}`; it has {', '.join(known) or 'none'}"
            )
        sections[section] = {**params[section], "datasets": {dataset: known[dataset]}}
    return sections


def _sections_from_description(workspace: Workspace, dataset: str, path: Path | None) -> dict[str, Any]:
    """The settings of the workspace for all datasets, with the datasets replaced by one from its description."""
    params = read_params(workspace.params)
    if dataset not in known_datasets():
        evaluated = ", ".join(params.get("evaluate", {}).get("datasets", {})) or "none"
        raise UserError(
            f"unknown dataset `{dataset}`; the datasets in {workspace.params} are {evaluated}, and the published "
            f"datasets are {', '.join(known_datasets())}; use `--params FILE` for a dataset of another params file"
        )
    description = load_description(dataset)
    source = {"kind": "published", "dataset": dataset, "path": str(path.resolve()) if path else None}
    own = {
        "ingest": {"source": source, "split": {SPLIT: 1.0}, "roles": {SPLIT: "report"}},
        "caption": {"title": _title(description)},
        "evaluate": evaluation_section(description),
    }
    found = {section: {**params[section], "datasets": {dataset: own[section]}} for section in SECTIONS}
    found["ingest"]["settings"] = {**found["ingest"].get("settings", {}), "limit": None}
    return found


def evaluation_section(description: Description) -> dict[str, Any]:
    """Return an entry of `evaluate.datasets`: zero-shot for the label sets, and the tasks of the publishers.

    A task with texts as queries is supported only if its documents are images; other tasks are logged and skipped.
    """
    source = description.source
    attributes = {column: name for name, column in source.attributes.items()}
    protocols: dict[str, Any] = {name: {"kind": "zero-shot", "label": name} for name in description.label_sets}
    text = _text_column(description)
    for task in description.tasks:
        name = task.name.replace("-", "_")
        if task.query in attributes:
            weights = {"title" if column == text else column: weight for column, weight in task.documents.items()}
            protocols[name] = {"kind": "attribute-search", "query": attributes[task.query], "documents": weights}
        elif task.query == text and set(task.documents) == {"image"}:
            protocols["retrieval"] = {"kind": "retrieval", "caption": "title"}
        else:
            logger.info("%s: skipped the task %s, since its queries are texts", description.title, task.name)
    if text and "retrieval" not in protocols:
        protocols["retrieval"] = {"kind": "retrieval", "caption": "title"}
    primary = f"{description.label_sets[0]}.weighted_f1" if text is None else "retrieval.text_to_image.recall_at_10"
    return {"primary": primary, "slices": description.label_sets, "protocols": protocols}


def _text_column(description: Description) -> str | None:
    """The text column that the tasks use; without tasks, the first text column."""
    texts = list(description.source.texts.values())
    used = [column for task in description.tasks for column in (*task.documents, task.query) if column in texts]
    return next(iter([*used, *texts]), None)


def _title(description: Description) -> str | None:
    column = _text_column(description)
    return next((f"{{{name}}}" for name, other in description.source.texts.items() if other == column), None)


def _tokenizer_model(workspace: Workspace) -> Path:
    """The model folder whose tokenizer counts caption tokens: the pinned base model, else fclip-tiny."""
    if read_base_model_pin(workspace):
        return find_base_model(workspace)
    return base_model_folder(workspace, FclipTinyConfig(kind="fclip-tiny"))
