"""The model card of any model: of a registered version, of a candidate of the workspace, or of another folder."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fclip.base_models.registry import base_models
from fclip.catalog.config import DatasetConfig, IngestConfig
from fclip.catalog.descriptions import load_description
from fclip.catalog.sources.published import PublishedSource
from fclip.catalog.sources.registry import kind_of
from fclip.errors import UserError
from fclip.evaluation.config import EvaluateSettings
from fclip.evaluation.protocols.registry import protocols
from fclip.files import sha256_tree
from fclip.models.candidates import BASE_MODEL, Candidate, read_candidates
from fclip.models.digests import model_sha256
from fclip.models.folder import context_length, read_config
from fclip.registry import tags
from fclip.registry.lineage import lineage
from fclip.report.card_facts import CardFacts, DatasetFacts, ModelFacts, SplitFacts, TrainingFacts, facts_from_json
from fclip.report.inputs import MetricResult
from fclip.selection.result import SelectionResult, read_selection
from fclip.training.config import FinetuneConfig
from tasks.base_model import WarmStartPin, read_base_model_pin
from tasks.selection_result import (
    SELECTED,
    audits_of,
    candidate_scores,
    derived_data,
    evaluation_rows,
    metric_results,
)
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import read_evaluated_roles

DEFAULT_IMAGE_SIDE = 224  # of open_clip


def model_card_of(workspace: Workspace | None, name: str, folder: Path) -> str:
    """Return the model card of a model.

    The card of a version has the facts of its registration, and what the registry says of it now. The card of a
    candidate has the facts of the workspace. The card of another model has its technical part only.

    Args:
        workspace: None outside of a workspace.
        name: the name that `folder` was found by (`tasks.model_evaluation.model_folder`).

    Raises:
        UserError: the folder contains no model, or its facts cannot be read.
    """
    from fclip.report.card import model_card

    digest = model_sha256(folder)
    bare = CardFacts(PurePath(name).name, model_facts(folder, digest))
    if workspace is None:
        return model_card(bare)
    from tasks.model_evaluation import registered_version  # matplotlib takes a second to import

    if version := registered_version(workspace, name):
        from fclip.registry.store import read_artifact

        stored = read_artifact(version.pin, workspace.card_facts.name)  # None: it was registered without the facts
        try:
            return model_card(facts_from_json(stored) if stored else replace(bare, name=version.pin.title), version)
        except ValueError as error:
            raise UserError(
                f"{version.pin.title}: the facts of its model card are of another version of fclip; export it with the "
                f"code of its commit ({version.tags.get(tags.GIT_COMMIT, 'unknown')})"
            ) from error
    candidate = _candidate(workspace, digest)
    return model_card(card_facts(workspace, folder, candidate) if candidate else bare)


def card_facts(workspace: Workspace, folder: Path, candidate: Candidate) -> CardFacts:
    """Return the facts about a candidate of the workspace, whose model is in `folder`.

    Raises:
        UserError: the folder contains no model, or a section of params is invalid.
    """
    base = load_section(workspace, "base", Base)
    ingest = load_section(workspace, "ingest", IngestConfig)
    rows = {
        name: [row for row in table if row.candidate != candidate.name or row.model_sha256 == candidate.model_sha256]
        for name, table in evaluation_rows(
            workspace, read_evaluated_roles(workspace)
        ).items()  # without rows of earlier weights
    }
    derived = derived_data(workspace)
    results = metric_results(
        rows,
        base_model=BASE_MODEL,
        model=candidate.name,
        training_datasets=ingest.training_datasets,
        derived=derived,
    )
    return CardFacts(
        name=base.registered_model,
        model=model_facts(folder, candidate.model_sha256),
        registered_model=base.registered_model,
        datasets=tuple(_dataset(workspace, name, dataset) for name, dataset in ingest.datasets.items()),
        training=_training(workspace, candidate),
        results=tuple(result for result in results if _is_shown(result)),
        confidence=load_section(workspace, "evaluate.settings", EvaluateSettings).confidence,
        selection=_selection(workspace, candidate),
        scores=candidate_scores(rows),
        lineage=lineage_tags(workspace, candidate),
        audits=audits_of(workspace, candidate, BASE_MODEL if candidate.name == BASE_MODEL else SELECTED),
        derived=derived,
    )


def model_facts(folder: Path, digest: str) -> ModelFacts:
    """Return what the config of a model folder says; raises UserError if it is no model folder."""
    stored = read_config(folder)
    model_cfg, preprocess_cfg = stored["model_cfg"], stored.get("preprocess_cfg") or {}
    return ModelFacts(
        model_sha256=digest,
        image_side=model_cfg["vision_cfg"].get("image_size", DEFAULT_IMAGE_SIDE),
        context_length=context_length(model_cfg["text_cfg"]),
        dim=model_cfg["embed_dim"],
        resize_mode=preprocess_cfg.get("resize_mode") or "shortest",
    )


def lineage_tags(workspace: Workspace, candidate: Candidate) -> Mapping[str, str]:
    """Return what a version is tagged with about its origin."""
    origin = lineage(workspace.root)
    base_model = read_base_model_pin(workspace)
    datasets = load_section(workspace, "ingest", IngestConfig).datasets
    return {
        tags.WORKSPACE: load_section(workspace, "base", Base).workspace,
        tags.CANDIDATE: candidate.name,
        tags.BASE_MODEL_SHA256: base_model.model_sha256 if base_model else "",
        tags.GIT_COMMIT: origin.git_commit,
        tags.GIT_DIRTY: str(origin.git_dirty).lower(),
        tags.DVC_LOCK_SHA256: origin.dvc_lock_sha256,
        **{f"{tags.DATASET_SHA256}{name}": sha256_tree(workspace.catalog(name)) for name in sorted(datasets)},
    }


def _candidate(workspace: Workspace, digest: str) -> Candidate | None:
    listed = workspace.averages / "candidates.json"
    known = read_candidates(listed) if listed.is_file() else ()
    return next((candidate for candidate in known if candidate.model_sha256 == digest), None)


def _selection(workspace: Workspace, candidate: Candidate) -> SelectionResult | None:
    if not workspace.selection.is_file():
        return None
    selection = read_selection(workspace.selection)
    return selection if candidate in [entry.candidate for entry in selection.candidates] else None


def _is_shown(result: MetricResult) -> bool:
    return result.primary or result.metric.rpartition(".")[2] in protocols()[result.kind].headlines


def _training(workspace: Workspace, candidate: Candidate) -> TrainingFacts | None:
    pin = read_base_model_pin(workspace)
    if pin is None:
        return None
    config = load_section(workspace, "finetune", FinetuneConfig)
    title, hub_repo = pin.title, None
    if not isinstance(pin, WarmStartPin):
        hub_repo, declaration = pin.hub_repo, base_models()[pin.kind]
        if hub_repo is None and declaration.title_field in declaration.path_fields:
            title = f"{PurePath(pin.settings[declaration.title_field]).name} (local folder)"  # paths are private
    return TrainingFacts(
        base_model=title,
        base_model_hub=hub_repo,
        candidate=candidate,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        trainable=config.trainable,
        loss=config.objective.loss,
        captions=config.objective.fields or config.captions,
        background_share=config.augment.background,
    )


def _dataset(workspace: Workspace, name: str, dataset: DatasetConfig) -> DatasetFacts:
    source = dataset.source
    facts = DatasetFacts(name, kind_of(source).label, _splits(workspace, name, dataset))
    if not isinstance(source, PublishedSource):
        return facts
    published = load_description(source.dataset)
    return replace(facts, title=published.title, home=published.home, hub=published.hub, licence=published.licence)


def _splits(workspace: Workspace, name: str, dataset: DatasetConfig) -> tuple[SplitFacts, ...]:
    products = pq.read_table(workspace.catalog(name) / "products.parquet", columns=["split", "images"])
    present = Counter(products["split"].to_pylist())
    captions: Mapping[str, int] | None = None
    if workspace.captions(name).is_file():
        file = pq.ParquetFile(workspace.captions(name))  # unlike read_table, it reads a column without the texts
        table = file.read(columns=["split", "captions.list.element.truncated"])
        captions = {split: _num_elements(_of_split(table, split, "captions")) for split in present}
    return tuple(
        SplitFacts(
            split=split,
            role=dataset.roles.get(split),
            num_products=present[split],
            num_images=len(pc.unique(pc.list_flatten(_of_split(products, split, "images")))),
            num_captions=captions[split] if captions else None,
        )
        for split in dataset.splits
        if split in present
    )


def _of_split(table: pa.Table, split: str, column: str) -> pa.ChunkedArray:
    return table.filter(pc.equal(table["split"], split))[column]


def _num_elements(lists: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.list_value_length(lists)).as_py() or 0)
