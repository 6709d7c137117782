"""The argument MODEL of the commands that embed or export: one form for models inside and outside a workspace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fclip.errors import UserError
from flows.cli.here import workspace_or_none

if TYPE_CHECKING:
    from fclip.export.parity import ParityInputs
    from fclip.runtime import Model

EMBEDDING_MODELS = (
    "`fclip-tiny`, a model folder, `models:/NAME@champion` or `models:/NAME/VERSION`, or a model on the Hugging Face "
    "hub; in a workspace also `selected`, a candidate, a version or an alias"
)


def load_runtime(name: str) -> "Model":
    """Load a model into the runtime. A model without ONNX graphs is exported once, which needs the extra `pipeline`.

    Raises:
        UserError: there is no such model, or it cannot be fetched or exported.
    """
    from fclip.export.runtime_folder import runtime_folder
    from fclip.runtime import load

    return load(runtime_folder(model_in_workspace(name) or name, parity_inputs=parity_inputs_here))


def model_in_workspace(name: str) -> Path | None:
    """Return the folder of a model that only the current workspace knows; None for other names and outside of one."""
    if Path(name).is_dir() or "/" in name or name in ("fclip-tiny", "fashion-clip"):
        return None
    workspace = workspace_or_none()
    if workspace is None:
        return None
    from tasks.model_evaluation import model_folder

    return model_folder(workspace, name)


@contextmanager
def model_to_export(name: str) -> Iterator[Path]:
    """Context with the open_clip folder of a model.

    Raises:
        UserError: there is no such model, or it cannot be fetched.
    """
    if folder := (Path(name) if Path(name).is_dir() else model_in_workspace(name)):
        yield folder
        return
    from fclip.base_models.registry import base_model_from_name
    from fclip.export.runtime_folder import written_base_model

    config = base_model_from_name(name)
    if config is None:
        raise UserError(f"{name} is not a model; use a folder, `fclip-tiny`, or a model on the Hugging Face hub")
    with written_base_model(config) as (folder, _):
        yield folder


def parity_inputs_here() -> "ParityInputs | None":
    """Return products of the current workspace for the parity check; None outside of a workspace."""
    workspace = workspace_or_none()
    if workspace is None:
        return None
    from tasks.model_package import parity_inputs

    return parity_inputs(workspace)
