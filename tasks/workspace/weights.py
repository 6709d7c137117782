"""Find a model folder by the digest of the model, never by an alias."""

from pathlib import Path

from fclip.errors import UserError
from fclip.files import sha256_tree
from fclip.registry.versions import VersionPin
from tasks.workspace.paths import Workspace


def find_model(workspace: Workspace, model_sha256: str, pin: VersionPin | None) -> Path:
    """Return the model folder with this digest: models/selected, else cache/models, else downloaded from the registry.

    Args:
        pin: the registry version of the model, if known.

    Raises:
        UserError: the weights are not found, or the weights in the registry have another digest.
    """
    cached = workspace.model_cache / model_sha256
    for folder in (workspace.selected, cached):
        if folder.is_dir() and sha256_tree(folder) == model_sha256:
            return folder
    if pin is None or pin.model_sha256 != model_sha256:
        raise UserError(
            f"model {model_sha256[:12]}: no weights in models/selected, in the cache or in a pinned registry version; "
            "run `dvc pull` or `fclip retrain`"
        )
    from fclip.registry import store  # mlflow takes seconds to import, and most runs need no registry

    return store.download_model(pin, cached)
