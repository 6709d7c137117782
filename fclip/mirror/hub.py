"""The Hugging Face hub: the file list of a repository, and the files of one commit in the local cache."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from fclip.errors import UserError
from fclip.mirror.addresses import matches

logger = logging.getLogger(__name__)
T = TypeVar("T")
HUB_TIMEOUT_S = 30
"""How long the hub may take to list a repository."""


def call_hub(subject: str, request: Callable[[], T], *, remedy: str) -> T:
    """Return `request()`, which calls the hub; turn its errors into UserError.

    Args:
        subject: the requested object, for the error message: "dataset Marqo/KAGL".
        remedy: what the user can do without the hub, for the error message.

    Raises:
        UserError: the hub cannot be reached or does not have the object.
    """
    from huggingface_hub.errors import HTTPError

    try:
        return request()
    except (OSError, HTTPError) as error:
        _raise_user_error(subject, error, remedy)


def fetch_snapshot(
    kind: Literal["dataset", "model"],
    repo: str,
    revision: str,
    patterns: Sequence[str],
    *,
    is_complete: Callable[[Path], bool],
    remedy: str,
    sizes: Sequence[int] = (),
) -> Path:
    """Return the folder in the hub's cache with the files of a commit that match `patterns`.

    The hub is called only if the folder is missing or not complete. The caller checks the folder after a download.

    Args:
        is_complete: whether a cached folder has all files.
        remedy: what the user can do without the hub, for the error message.
        sizes: bytes of the files, for the log, if known.

    Raises:
        UserError: the files are not in the cache and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(
                repo,
                repo_type=kind,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=local_files_only,
            )
        )

    try:
        folder = snapshot(local_files_only=True)
        if is_complete(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    amount = f": {len(sizes)} files, {sum(sizes) / 1e9:.2f} GB" if sizes else ""
    logger.info("Downloading %s at %s%s", repo, revision[:12], amount)
    return call_hub(f"{kind} {repo}", lambda: snapshot(local_files_only=False), remedy=remedy)


def dataset_files(repo: str, patterns: Sequence[str], revision: str | None) -> dict[str, object]:
    """Return a dataset's commit (`revision`, or the newest) and its matching files: names, sizes, SHA-256 digests.

    Nothing is downloaded.

    Raises:
        UserError: the hub cannot be reached, has no such dataset or commit, or no file matches.
    """
    from huggingface_hub import HfApi

    info = call_hub(
        f"dataset {repo}",
        lambda: HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_S),
        remedy=_local_copy_remedy(patterns),
    )
    siblings = [sibling for sibling in info.siblings or () if matches(sibling.rfilename, patterns)]
    if not siblings:
        raise UserError(f"the hub's dataset {repo} has no file {' or '.join(patterns)} at {info.sha}")
    files = []
    for sibling in sorted(siblings, key=lambda sibling: sibling.rfilename):
        if sibling.lfs is None:
            raise UserError(
                f"the hub gives no SHA-256 for {sibling.rfilename} in {repo}, so the file cannot be pinned; "
                "download the files and set `path` to their folder"
            )
        files.append({"name": sibling.rfilename, "bytes": sibling.lfs.size, "sha256": sibling.lfs.sha256})
    return {"repo": repo, "revision": info.sha, "files": files}


def fetch_dataset(repo: str, patterns: Sequence[str], revision: str, sizes: Mapping[str, int]) -> Path:
    """Return the folder in the hub's cache with the files of a commit. Missing files are downloaded.

    Args:
        sizes: pinned size of each file in bytes, by its name in the repository.

    Raises:
        UserError: files are missing and cannot be downloaded, or do not have the pinned size.
    """

    def incomplete(folder: Path) -> list[str]:
        return [name for name, size in sizes.items() if _size(folder / name) != size]

    folder = fetch_snapshot(
        "dataset",
        repo,
        revision,
        patterns,
        is_complete=lambda folder: not incomplete(folder),
        remedy=_local_copy_remedy(patterns),
        sizes=list(sizes.values()),
    )
    if missing := incomplete(folder):
        raise UserError(
            f"{folder / missing[0]} is missing or does not have the hub's size of {sizes[missing[0]]} bytes; "
            "delete the file and run again"
        )
    return folder


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _local_copy_remedy(patterns: Sequence[str]) -> str:
    return f"set `path` to a local copy of the files {', '.join(patterns)}"


def _raise_user_error(subject: str, error: Exception, remedy: str) -> NoReturn:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    match error:
        case RevisionNotFoundError():
            why = "has no such commit"
        case RepositoryNotFoundError():  # the hub raises this for gated repositories too
            why = "does not show it (it is missing, private or gated; use an account with access: `hf auth login`)"
        case _:
            why = "cannot be reached"
    text = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    raise UserError(f"{subject}: the hub {why} ({text:.300}); try again, or {remedy}") from error
