"""What the hub has of a model in transformers' form, and the files of one commit on this machine."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fclip.errors import UserError
from fclip.hub import SECONDS, asked

logger = logging.getLogger(__name__)
T = TypeVar("T")


def look_up(repo: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """The commit (the newest, or `revision`) and the names of its files; nothing is downloaded.

    Raises:
        UserError: the hub cannot be reached, or has no such model or commit.
    """
    from huggingface_hub import HfApi

    info = _asked(repo, lambda: HfApi().model_info(repo, revision=revision, timeout=SECONDS))
    return str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ())


def fetch(repo: str, files: tuple[str, ...], revision: str) -> Path:
    """The folder in the hub's own cache with these files of a commit; downloaded only where they are not there yet.

    Raises:
        UserError: they are not there and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(repo, revision=revision, allow_patterns=list(files), local_files_only=local_files_only)
        )

    try:
        folder = snapshot(local_files_only=True)
        if all((folder / name).is_file() for name in files):
            return folder
    except LocalEntryNotFoundError:
        pass
    logger.info("downloading %s at %s", repo, revision[:12])
    folder = _asked(repo, lambda: snapshot(local_files_only=False))
    if lacking := [name for name in files if not (folder / name).is_file()]:
        raise UserError(f"model {repo}: the hub has no {lacking[0]} at {revision}: run `fclip pin`")
    return folder


def _asked(repo: str, ask: Callable[[], T]) -> T:
    return asked(f"model {repo}", ask, otherwise="give `model` a folder with a local copy of its files")
