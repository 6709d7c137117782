"""Judge models on a dataset of the workspace, outside the stages: for people, who ask about any model at any time.

Features come from the same cache as the stages', so that what was evaluated before is not encoded again.
"""

from collections.abc import Mapping
from pathlib import Path

from fclip.base_models.registry import base_model_from_name, base_model_name_forms
from fclip.errors import UserError
from fclip.evaluation.catalog import read_catalog
from fclip.evaluation.config import EvaluateConfig
from fclip.evaluation.run import Evaluation
from fclip.models.store import model_sha256
from fclip.report.comparison import ModelComparison, build_comparison, write_comparison_page
from fclip.report.plots import candidate_plots
from tasks.base_model import base_model_folder
from tasks.evaluate import dataset_files, evaluate_on, require_dataset
from tasks.selection_result import read_scores, read_selection
from tasks.workspace.params import Base, load_section
from tasks.workspace.paths import Workspace
from tasks.workspace.weights import find_model


def judge(workspace: Workspace, models: Mapping[str, Path], dataset: str, data: Workspace | None = None) -> Evaluation:
    """Evaluate each of `models` on all splits of `dataset` that select or report, by the protocols in params.

    Args:
        models: what `model_folders` finds; their names name the rows.
        data: the workspace that holds the dataset, if another (`tasks.external_dataset`).

    Raises:
        UserError: the dataset is not in params or not ingested, or a model cannot be loaded.
    """
    require_dataset(data or workspace, dataset)
    return evaluate_on(workspace, models, dataset, data=data)


def side_by_side(data: Workspace, evaluation: Evaluation, before: str, after: str) -> ModelComparison:
    """What a page shows of two models of `evaluation`; `data` holds its dataset."""
    config = load_section(data, "evaluate", EvaluateConfig)
    files = dataset_files(data, evaluation.dataset)
    return build_comparison(
        evaluation,
        read_catalog(files, with_captions=files.captions.exists()),
        files.images,
        before=before,
        after=after,
        attributes=config.datasets[evaluation.dataset].slices,
        newest=config.datasets[evaluation.dataset].newest,
        min_items=config.min_slice,
    )


def write_comparisons(workspace: Workspace, before: str, after: str) -> Path | None:
    """Write the page of two models on every dataset that params evaluate; returns its path.

    None, and no page of an earlier run, where both are the same.
    """
    if before == after:
        workspace.evaluation_page.unlink(missing_ok=True)
        return None
    datasets = load_section(workspace, "evaluate", EvaluateConfig).datasets
    models = model_folders(workspace, before, after)
    found = [side_by_side(workspace, judge(workspace, models, dataset), before, after) for dataset in datasets]
    plots = None
    if workspace.selection.is_file():
        plots = candidate_plots(read_selection(workspace), read_scores(workspace))
    return write_comparison_page(found, workspace.evaluation_page, plots=plots)


def model_folders(workspace: Workspace, *names: str) -> dict[str, Path]:
    """Each model's folder by its name, as `model_folder` finds it: a base model is composed or fetched for it, once."""
    return {name: model_folder(workspace, name) for name in names}


def model_folder(workspace: Workspace, name: str) -> Path:
    """The folder of a model: a folder, `selected`, a candidate, a registry version or alias, or a name on the hub.

    Raises:
        UserError: it is none of these, or cannot be fetched.
    """
    for folder in (Path(name), workspace.candidate(name)):
        if folder.is_dir():
            return folder
    if name == "selected":
        return workspace.selected
    if base_model := base_model_from_name(name):
        return base_model_folder(workspace, base_model)
    return _registered(workspace, name)


def _registered(workspace: Workspace, name: str) -> Path:
    from fclip.registry import store  # mlflow takes seconds to import

    model = load_section(workspace, "base", Base).registered_model
    try:
        pin = store.find_version(model, name).pin
    except UserError as error:
        folders = sorted(path.name for path in (workspace.finetune / "candidates").glob("*"))
        forms = ", ".join(f"`{form}`" for form in base_model_name_forms())
        raise UserError(
            f"no model `{name}`: give a folder, `selected`, a candidate ({', '.join(folders) or 'none yet'}), a base "
            f"model ({forms}), or a version or alias: {error}"
        ) from error
    return find_model(workspace, pin.model_sha256, pin)


def same_weights(first: Path, second: Path) -> bool:
    """Whether two folders hold one model."""
    return model_sha256(first) == model_sha256(second)
