"""Evaluate and compare any models on a dataset, independently of the pipeline stages.

Uses the feature cache of the stages, so that models that were evaluated before are not encoded again.
"""

from collections.abc import Mapping
from pathlib import Path

from fclip.base_models.registry import base_model_from_name, base_model_name_forms
from fclip.errors import UserError
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.config import EvaluateConfig
from fclip.evaluation.run import Evaluation
from fclip.evaluation.table import EVALUATED_ROLES
from fclip.models.candidates import BASE_MODEL
from fclip.models.digests import model_sha256
from fclip.registry.versions import Version
from fclip.report.comparison import ModelComparison, build_comparison, write_comparison_page
from fclip.report.plots import candidate_plots
from tasks.base_model import base_model_folder, find_base_model, read_base_model_pin
from tasks.evaluate import dataset_files, evaluate_on, require_dataset
from tasks.selection_result import read_scores, read_selection
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.roles import made_of, read_evaluated_roles
from tasks.workspace.weights import find_model


def score_models(
    workspace: Workspace, models: Mapping[str, Path], dataset: str, data: Workspace | None = None
) -> Evaluation:
    """Evaluate each of `models` on all `select` and `report` splits of `dataset`, by the protocols in params.

    Args:
        models: model folders by name, as `model_folders` returns them.
        data: the workspace that contains the dataset, if it is another one (see `tasks.external_dataset`).

    Raises:
        UserError: the dataset is not in params or not ingested, or a model cannot be loaded.
    """
    require_dataset(data or workspace, dataset)
    return evaluate_on(workspace, models, dataset, data=data)


def dataset_comparison(data: Workspace, evaluation: Evaluation, before: str, after: str) -> ModelComparison:
    """Return the comparison of two models of `evaluation` for a page. `data` is the workspace with the dataset."""
    config = load_section(data, "evaluate", EvaluateConfig)
    own = config.datasets[made_of(data).get(evaluation.dataset, evaluation.dataset)]
    files = dataset_files(data, evaluation.dataset)
    return build_comparison(
        evaluation,
        read_catalog(files, with_captions=files.captions.exists()),
        files.images,
        before=before,
        after=after,
        attributes=own.slices,
        newest=own.newest,
        min_items=config.min_slice,
    )


def write_comparisons(workspace: Workspace, before: str, after: str) -> Path | None:
    """Write the page that compares two models on every dataset, ingested or derived; return its path.

    If both are the same model, delete the page of an earlier run and return None.
    """
    if before == after:
        workspace.evaluation_page.unlink(missing_ok=True)
        return None
    datasets = [name for name in read_evaluated_roles(workspace) if _is_evaluated(workspace, name)]
    models = model_folders(workspace, before, after)
    found = [
        dataset_comparison(workspace, score_models(workspace, models, dataset), before, after) for dataset in datasets
    ]
    plots = None
    if workspace.selection.is_file():
        plots = candidate_plots(read_selection(workspace), read_scores(workspace))
    return write_comparison_page(found, workspace.evaluation_page, plots=plots)


def _is_evaluated(workspace: Workspace, dataset: str) -> bool:
    """Whether a split of the dataset has select or report data; a derived dataset may be too small."""
    return any(role in EVALUATED_ROLES for role in dataset_files(workspace, dataset).roles.values())


def model_folders(workspace: Workspace, *names: str) -> dict[str, Path]:
    """Return the folder of each model by name, as `model_folder` finds it."""
    return {name: model_folder(workspace, name) for name in names}


def model_folder(workspace: Workspace, name: str) -> Path:
    """Return the folder of a model. Fetch or compose it if necessary.

    Args:
        name: a folder, `selected`, a candidate, the name of a base model, or a registry version or alias.

    Raises:
        UserError: the model is unknown or cannot be fetched.
    """
    if folder := _folder(workspace, name):
        return folder
    if base_model := base_model_from_name(name):
        return base_model_folder(workspace, base_model)
    version = registered_version(workspace, name)
    assert version
    return find_model(workspace, version.model_sha256, version.pin)


def base_model_of(workspace: Workspace) -> Path | None:
    """Return the folder of the base model of the workspace; None if none is pinned."""
    folder = workspace.candidate(BASE_MODEL)
    if folder.is_dir():
        return folder
    return find_base_model(workspace) if read_base_model_pin(workspace) else None


def registered_version(workspace: Workspace, name: str) -> Version | None:
    """Return the version with the number or alias `name`; None if `name` is another name of a model.

    Raises:
        UserError: the model is unknown.
    """
    if _folder(workspace, name) or base_model_from_name(name):
        return None
    from fclip.registry import store  # mlflow takes seconds to import

    try:
        return store.find_version(load_section(workspace, "base", Base).registered_model, name)
    except UserError as error:
        folders = sorted(path.name for path in (workspace.finetune / "candidates").glob("*"))
        forms = ", ".join(f"`{form}`" for form in base_model_name_forms())
        raise UserError(
            f"unknown model `{name}`; use a folder, `selected`, a candidate ({', '.join(folders) or 'none yet'}), a "
            f"base model ({forms}), or a registry version or alias ({error})"
        ) from error


def _folder(workspace: Workspace, name: str) -> Path | None:
    for folder in (Path(name), workspace.candidate(name)):
        if folder.is_dir():
            return folder
    return workspace.selected if name == "selected" else None


def same_weights(first: Path, second: Path) -> bool:
    """Whether two folders contain the same weights."""
    return model_sha256(first) == model_sha256(second)
