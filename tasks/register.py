"""The step `register`: register the selected model as a version, with its lineage, metrics and data profiles.

If selection chose the base model, no version is registered.
"""

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fclip.catalog.config import IngestConfig
from fclip.errors import UserError
from fclip.evaluation.table import read_score_rows
from fclip.files import atomic_write, sha256_file, sha256_tree
from fclip.models.candidates import Candidate
from fclip.profile.profile import Profile
from fclip.registry import tags
from fclip.registry.log import MetricPoint, Receipt, RunDataset, RunRecord, flatten, register_version
from fclip.report.card_facts import CardFacts, facts_to_json
from fclip.report.description import version_description
from fclip.selection.result import SelectionResult
from fclip.shifts.counts import COUNTS
from fclip.training.seen_rows import write_seen_rows
from tasks.model_card import card_facts
from tasks.profile import measure_catalogs, write_profiles
from tasks.selection_result import SELECTED, audits_of, read_scores, read_selection
from tasks.workspace.params import Base, load_section, read_params
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import made_of, read_evaluated_roles

__all__ = ["NotRegistered", "Receipt", "register"]
logger = logging.getLogger(__name__)

CURVES = {"train_loss": "train/loss"}  # other columns are named `train/<column>`


@dataclass(frozen=True)
class NotRegistered:
    """No version was registered. `reason`: why, in a sentence."""

    reason: str


def register(workspace: Workspace, profiles: Mapping[str, Profile] | None = None) -> Receipt | NotRegistered:
    """Register `models/selected` as the challenger. Weights that are already registered get no second version.

    Args:
        profiles: profiles of the catalogs that this run has already written; None: measure and write them here.

    Raises:
        UserError: the selection is missing, or `models/selected` is not the selected model.
    """
    base = load_section(workspace, "base", Base)
    selection = read_selection(workspace)
    winner = selection.selected.candidate
    if not selection.differs_from_base:
        return NotRegistered(f"the base model was selected: {selection.reason}")
    digest = sha256_tree(workspace.selected)
    if digest != winner.model_sha256:
        raise UserError(
            f"{workspace.selected} has the digest {digest[:12]}, but {winner.name} with {winner.model_sha256[:12]} was "
            "selected; run `dvc repro select`"
        )
    ingest = load_section(workspace, "ingest", IngestConfig)
    if profiles is None:
        write_profiles(workspace, measure_catalogs(workspace))
    if winner.kind != "original-base-model":  # not trained on this table
        _write_rows(workspace)
    facts = card_facts(workspace, workspace.selected, winner)
    atomic_write(workspace.card_facts, json.dumps(facts_to_json(facts), ensure_ascii=False, indent=2))
    record = _record(workspace, ingest, selection, facts)
    receipt = register_version(
        base.registered_model,
        workspace.selected,
        record,
        run_name=f"{base.workspace} {winner.name} {digest[:8]}",
        package=lambda folder: _write_package(workspace, folder, facts),
    )
    status = "registered" if receipt.created else "already registered"
    logger.info("%s is %s as version %d of %s", winner.name, status, receipt.version, receipt.registered_model)
    return receipt


def _write_package(workspace: Workspace, folder: Path, facts: CardFacts) -> None:
    from fclip.export.package import write_package  # torch takes seconds to import
    from fclip.report.card import model_card
    from tasks.model_package import parity_inputs

    parity = write_package(workspace.selected, folder, card=model_card(facts), inputs=parity_inputs(workspace))
    logger.info(
        "The ONNX export gives the model's embeddings: lowest cosine %.6f over %d images and %.6f over %d texts",
        parity.min_image_cosine,
        parity.num_images,
        parity.min_text_cosine,
        parity.num_texts,
    )


def _write_rows(workspace: Workspace) -> None:
    products = workspace.training / "products.parquet"
    if not products.is_file():
        raise UserError(f"{products} does not exist; run `dvc pull` or `dvc repro gather`")
    write_seen_rows(products, workspace.trained_rows)


def _record(workspace: Workspace, ingest: IngestConfig, selection: SelectionResult, facts: CardFacts) -> RunRecord:
    datasets = tuple(
        RunDataset(
            name=name,
            sha256=facts.lineage[f"{tags.DATASET_SHA256}{name}"],
            roles=", ".join(f"{split}: {role}" for split, role in sorted(dataset.roles.items())),
            source=dataset.source.kind,
        )
        for name, dataset in sorted(ingest.datasets.items())
    )
    scores, headline = _scores(workspace, list(read_evaluated_roles(workspace)), selection)
    return RunRecord(
        params=flatten(read_params(workspace.params)),
        points=(*_training(workspace), *scores),
        headline=headline,
        description=version_description(selection, read_scores(workspace)),
        tags=facts.lineage,
        datasets=datasets,
        artifacts=_artifacts(workspace, list(ingest.datasets), selection.selected.candidate),
    )


def _training(workspace: Workspace) -> list[MetricPoint]:
    """The training curves: columns of history.csv, validation losses of the candidates, and training speed."""
    points = []
    for row in _rows(workspace.finetune / "history.csv"):
        for column, value in row.items():
            if column != "step" and value:
                points.append(MetricPoint(CURVES.get(column, f"train/{column}"), float(value), int(float(row["step"]))))
    for row in _rows(workspace.step_timings(sha256_file(workspace.finetune / "candidates.json"))):
        seconds, step = float(row["seconds"]), int(row["step"])
        points.append(MetricPoint("timing/samples_per_second", float(row["samples"]) / seconds, step))
        points.append(MetricPoint("timing/data_wait_fraction", float(row["wait_seconds"]) / seconds, step))
    points += [
        MetricPoint(
            f"validation/{'mean_' if row['kind'] == 'ema' else ''}loss",
            float(row["val_loss"]),
            int(float(row["step"])),
        )
        for row in _rows(workspace.finetune / "validation.csv")
    ]
    return points


def _scores(
    workspace: Workspace, datasets: list[str], selection: SelectionResult
) -> tuple[list[MetricPoint], dict[str, float]]:
    """Return every metric and audit of the winner and the base model, and the winner's primary metrics as headline."""
    points, headline = [], {}
    for name in datasets:
        for row in read_score_rows(workspace.evaluation(name)):
            if row.candidate not in (selection.winner, selection.base.name):
                continue
            whose = SELECTED if row.candidate == selection.winner else selection.base.name
            points.append(MetricPoint(f"{whose}/{name}/{row.split}/{row.full_metric}", row.value))
            if row.primary and whose == SELECTED:
                headline[f"{name}.{row.split}.{row.full_metric}"] = row.value
    for name, candidate in ((selection.base.name, selection.base), (SELECTED, selection.selected)):
        points += [
            MetricPoint(f"{name}/{result.dataset}/{result.split}/audit.{result.kind}", result.headline.value)
            for result in audits_of(workspace, candidate.candidate, name)
            if result.headline
        ]
    return points, headline


def _artifacts(workspace: Workspace, datasets: list[str], winner: Candidate) -> tuple[tuple[Path, str], ...]:
    return (
        *((path, "") for path in (workspace.params, workspace.dvc_yaml, workspace.dvc_lock, workspace.selection)),
        *((path, "") for path in (workspace.profile, workspace.card_facts)),
        *(((workspace.audits, ""),) if workspace.audits.is_file() else ()),
        *(() if winner.kind == "original-base-model" else ((workspace.trained_rows, ""),)),
        *((path, "pins") for path in (workspace.base_model_pin, workspace.champion_pin)),
        *((workspace.source_pin(name), "pins/sources") for name in datasets),
        *((workspace.evaluation(name), "evaluation") for name in read_evaluated_roles(workspace)),
        *((workspace.finetune / name, "training") for name in ("history.csv", "validation.csv")),
        *((workspace.catalog(name) / "ingest.json", f"ingest/{name}") for name in datasets),
        *((workspace.derived(name) / COUNTS, f"derive/{name}") for name in made_of(workspace)),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
