"""Find a model's folder by its digest, wherever its weights lie; never by an alias."""

from pathlib import Path

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.registry.versions import VersionPin
from tasks.workspace.paths import Workspace


def find_model(workspace: Workspace, model_sha256: str, pin: VersionPin | None) -> Path:
    """The open_clip folder with these weights: models/selected, else cache/models, else the pinned registry version.

    Args:
        pin: a registry version; None where none is known.

    Raises:
        UserError: the weights are nowhere, or the registry's are not those of the digest.
    """
    cached = workspace.model_cache / model_sha256
    for folder in (workspace.selected, cached):
        if folder.is_dir() and sha256_tree(folder) == model_sha256:
            return folder
    if pin is None or pin.model_sha256 != model_sha256:
        raise UserError(
            f"the model {model_sha256[:12]} is neither selected, nor cached, nor pinned: "
            "run `dvc pull`, or `fclip retrain`"
        )
    from fclip.registry import store  # mlflow takes seconds to import, and most runs need no registry

    return store.download_model(pin, cached)
