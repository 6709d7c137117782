"""Where what is measured lies: a workspace of params/fclip-tiny.yaml, laid out once in `--work`."""

import argparse
from pathlib import Path

from benchmarks.paths import DATASETS, REPOSITORY
from benchmarks.workspaces import lay_out_workspace
from fclip.base_models.fclip_tiny import FclipTinyConfig
from fclip.evaluation.catalog import DatasetFiles
from fclip.evaluation.config import DatasetEvaluation
from tasks.base_model import base_model_folder
from tasks.evaluate import dataset_files
from tasks.workspace.params import parse, read_params
from tasks.workspace.paths import Workspace

PRESET = REPOSITORY / "params" / "fclip-tiny.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--work` and `--model`."""
    parser.add_argument("--work", type=Path, required=True, help="where datasets are laid out, and stay")
    parser.add_argument("--model", type=Path, help="an open_clip model folder; fclip-tiny without")


def workspace_in(work: Path) -> Workspace:
    """The workspace in the folder `work`: all datasets of the preset, ingested and captioned."""
    workspace = Workspace(work.resolve() / "workspace")
    if not workspace.training.is_dir():
        names = list(read_params(PRESET)["ingest"]["datasets"])
        lay_out_workspace(workspace.root, DATASETS, names, preset=PRESET, limit=None, device="auto")
    return workspace


def dataset_and_config(
    workspace: Workspace, dataset: str, *, preset: Path = PRESET
) -> tuple[DatasetFiles, DatasetEvaluation]:
    """A dataset's files, and what `preset` says, today, of its evaluation."""
    values = read_params(preset)["evaluate"]["datasets"][dataset]
    return dataset_files(workspace, dataset), parse(f"evaluate.datasets.{dataset}", values, DatasetEvaluation)


def model_folder(workspace: Workspace, model: Path | None) -> Path:
    """`model`, or fclip-tiny's."""
    return model or base_model_folder(workspace, FclipTinyConfig(kind="fclip-tiny"))
