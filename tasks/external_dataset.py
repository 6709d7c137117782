"""Datasets that a workspace does not hold: laid out in its cache, to judge models on.

What is judged and how is a params file's word (another workspace's, a preset), or follows from the description of a
published dataset: every label set zero-shot, and the retrieval tasks of its publishers.
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
from tasks.caption import caption_from
from tasks.ingest import source_access
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace

logger = logging.getLogger(__name__)
SECTIONS = ("ingest", "caption", "evaluate")
SPLIT = "test"


def prepare_external(
    workspace: Workspace, dataset: str, *, params: Path | None, path: Path | None, limit: int | None
) -> Workspace:
    """A workspace in `workspace`'s cache that holds `dataset`, ingested and captioned; made anew where it changed.

    Args:
        params: the file whose sections `ingest`, `caption` and `evaluate` say what the dataset is; relative paths in it
            are relative to `workspace`. None: `dataset` is the name of a published one.
        path: where a copy of the published dataset's files lies; None: they come from the hub.
        limit: rows at most; None: as the params say, or all.

    Raises:
        UserError: there is no such dataset, its files are not there, or its sections are not valid.
    """
    values = _of_file(params, dataset) if params else _of_description(workspace, dataset, path)
    if limit is not None:
        values["ingest"]["settings"] = {**values["ingest"].get("settings", {}), "limit": limit}
    config = parse("ingest", values["ingest"], IngestConfig)
    access = source_access(workspace, config, dataset, refresh=True)
    pin = current_pin(dataset, config.datasets[dataset], access)
    captions = parse("caption", values["caption"], CaptionConfig)
    ingested = [asdict(config.settings), asdict(config.datasets[dataset])]
    captioned = [asdict(captions.settings), asdict(captions.datasets[dataset])]
    key = sha256_json([ingested, captioned, pin.to_json()])[:12]
    found = Workspace(workspace.external_datasets / f"{dataset}-{key}")
    if not found.root.is_dir():
        with atomic_dir(found.root) as temporary:
            made = Workspace(temporary)
            _write(made, values)
            build_catalog(
                config,
                dataset=dataset,
                access=access,
                pin=pin,
                catalog_dir=made.catalog(dataset),
                images_dir=made.images(dataset),
                cache_dir=workspace.external_datasets / "ingest" / dataset,
            )
            caption_from(made, dataset, lambda _: _tokenizer_of(workspace))
    _write(found, values)  # how it is judged may be another way than last time
    return found


def _write(workspace: Workspace, values: dict[str, Any]) -> None:
    atomic_write(workspace.params, yaml.safe_dump(values, sort_keys=False))


def _of_file(path: Path, dataset: str) -> dict[str, Any]:
    params = read_params(path)
    found = {}
    for section in SECTIONS:
        known = params.get(section, {}).get("datasets", {})
        if dataset not in known:
            raise UserError(
                f"no dataset `{dataset}` in {section}.datasets of {path}: it has {', '.join(known) or 'none'}"
            )
        found[section] = {**params[section], "datasets": {dataset: known[dataset]}}
    return found


def _of_description(workspace: Workspace, dataset: str, path: Path | None) -> dict[str, Any]:
    """What the workspace's params say of any dataset, and what the description says of this one."""
    params = read_params(workspace.params)
    if dataset not in known_datasets():
        here = ", ".join(params.get("evaluate", {}).get("datasets", {})) or "none"
        raise UserError(
            f"no dataset `{dataset}`: {workspace.params} evaluates {here}; published ones are "
            f"{', '.join(known_datasets())} (`fclip datasets`); `--params FILE` takes one of another params file"
        )
    description = load_description(dataset)
    source = {"kind": "published", "dataset": dataset, "path": str(path.resolve()) if path else None}
    own = {
        "ingest": {"source": source, "split": {SPLIT: 1.0}, "roles": {SPLIT: "report"}},
        "caption": {"title": _title(description)},
        "evaluate": evaluation_of(description),
    }
    found = {section: {**params[section], "datasets": {dataset: own[section]}} for section in SECTIONS}
    found["ingest"]["settings"] = {**found["ingest"].get("settings", {}), "limit": None}
    return found


def evaluation_of(description: Description) -> dict[str, Any]:
    """An entry of `evaluate.datasets`: label sets zero-shot, and the publishers' tasks.

    A task whose queries are texts, other than that of finding a text's image, is left out, and named in the log.
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
            logger.info("%s: the task %s is left out: its queries are texts", description.title, task.name)
    if text and "retrieval" not in protocols:
        protocols["retrieval"] = {"kind": "retrieval", "caption": "title"}
    primary = f"{description.label_sets[0]}.weighted_f1" if text is None else "retrieval.text_to_image.recall_at_10"
    return {"primary": primary, "slices": description.label_sets, "protocols": protocols}


def _text_column(description: Description) -> str | None:
    """The column of texts that tasks are about; without tasks, the first."""
    texts = list(description.source.texts.values())
    asked = [column for task in description.tasks for column in (*task.documents, task.query) if column in texts]
    return next(iter([*asked, *texts]), None)


def _title(description: Description) -> str | None:
    column = _text_column(description)
    return next((f"{{{name}}}" for name, own in description.source.texts.items() if own == column), None)


def _tokenizer_of(workspace: Workspace) -> Path:
    """A model folder whose tokenizer counts a caption's tokens: the workspace's base model, or fclip-tiny."""
    if read_base_model_pin(workspace):
        return find_base_model(workspace)
    return base_model_folder(workspace, FclipTinyConfig(kind="fclip-tiny"))
