"""The Hugging Face hub: what it has of a repository, and the files of one commit on this machine."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from fclip.errors import UserError
from fclip.mirror.addresses import fits

logger = logging.getLogger(__name__)
T = TypeVar("T")
SECONDS = 30
"""How long the hub may take to say what a repository holds."""


def ask_hub(what: str, ask: Callable[[], T], *, otherwise: str) -> T:
    """What `ask` gets of the hub.

    Args:
        what: what it asks for, for the error: "dataset Marqo/KAGL".
        otherwise: what a user can do without the hub.

    Raises:
        UserError: the hub cannot be reached, or does not have it.
    """
    from huggingface_hub.errors import HTTPError

    try:
        return ask()
    except (OSError, HTTPError) as error:
        _refuse(what, error, otherwise)


def fetch_snapshot(
    kind: Literal["dataset", "model"],
    repo: str,
    revision: str,
    patterns: Sequence[str],
    *,
    is_whole: Callable[[Path], bool],
    otherwise: str,
    sizes: Sequence[int] = (),
) -> Path:
    """The folder in the hub's own cache with the files of a commit that fit `patterns`.

    Nothing is downloaded, and the hub is not asked, where the folder is there and `is_whole`. After a download the
    caller checks it. `sizes`: bytes of the files, for the log, where they are known.

    Raises:
        UserError: the files are not there and cannot be downloaded.
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
        if is_whole(folder):
            return folder
    except LocalEntryNotFoundError:
        pass
    amount = f": {len(sizes)} files, {sum(sizes) / 1e9:.2f} GB" if sizes else ""
    logger.info("downloading %s at %s%s", repo, revision[:12], amount)
    return ask_hub(f"{kind} {repo}", lambda: snapshot(local_files_only=False), otherwise=otherwise)


def dataset_files(repo: str, patterns: Sequence[str], revision: str | None) -> dict[str, object]:
    """The commit (the newest, or `revision`) of a dataset and its files that fit: names, sizes and SHA-256 digests.

    Nothing is downloaded.

    Raises:
        UserError: the hub cannot be reached, has no such dataset or commit, or no file fits.
    """
    from huggingface_hub import HfApi

    info = ask_hub(
        f"dataset {repo}",
        lambda: HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=SECONDS),
        otherwise=_use_a_copy(patterns),
    )
    siblings = [sibling for sibling in info.siblings or () if fits(sibling.rfilename, patterns)]
    if not siblings:
        raise UserError(f"the hub's dataset {repo} has no file {' or '.join(patterns)} at {info.sha}")
    files = []
    for sibling in sorted(siblings, key=lambda sibling: sibling.rfilename):
        if sibling.lfs is None:
            raise UserError(
                f"the hub states no SHA-256 of {sibling.rfilename} in {repo}, so it cannot be pinned: "
                "download the files yourself and give `path` the folder"
            )
        files.append({"name": sibling.rfilename, "bytes": sibling.lfs.size, "sha256": sibling.lfs.sha256})
    return {"repo": repo, "revision": info.sha, "files": files}


def fetch_dataset(repo: str, patterns: Sequence[str], revision: str, sizes: Mapping[str, int]) -> Path:
    """The folder in the hub's own cache with the files of a commit; downloaded only where they are not there yet.

    Args:
        sizes: bytes of each file, by its name in the repository, as pinned.

    Raises:
        UserError: they are not there and cannot be downloaded.
    """

    def lacking(folder: Path) -> list[str]:
        return [name for name, size in sizes.items() if _size(folder / name) != size]

    folder = fetch_snapshot(
        "dataset",
        repo,
        revision,
        patterns,
        is_whole=lambda folder: not lacking(folder),
        otherwise=_use_a_copy(patterns),
        sizes=list(sizes.values()),
    )
    if missing := lacking(folder):
        raise UserError(
            f"{folder / missing[0]} is missing or not as large as the hub says ({sizes[missing[0]]} bytes): "
            "delete it, and run again"
        )
    return folder


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _use_a_copy(patterns: Sequence[str]) -> str:
    return f"give `path` a local copy of the files {', '.join(patterns)}"


def _refuse(what: str, error: Exception, otherwise: str) -> NoReturn:
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    match error:
        case RevisionNotFoundError():
            why = "has no such commit"
        case RepositoryNotFoundError():  # a gated one is such an error too
            why = "does not show it (it is gone, private or gated: `hf auth login` with an account that may read it)"
        case _:
            why = "cannot be reached"
    said = re.sub(r"\s+", " ", str(error)).strip() or type(error).__name__
    raise UserError(f"{what}: the hub {why} ({said:.300}): try again, or {otherwise}") from error
