"""What the hub has of a dataset, and the files of one commit on this machine."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from fclip.catalog.sources.parquet import fits
from fclip.errors import UserError
from fclip.hub import SECONDS, asked

logger = logging.getLogger(__name__)
T = TypeVar("T")


def look_up(repo: str, patterns: Sequence[str], revision: str | None) -> dict[str, object]:
    """The commit (the newest, or `revision`) and its files that fit, by name, size and SHA-256; nothing is downloaded.

    Raises:
        UserError: the hub cannot be reached, has no such dataset or commit, or no file fits.
    """
    from huggingface_hub import HfApi

    info = _asked(
        repo, lambda: HfApi().dataset_info(repo, revision=revision, files_metadata=True, timeout=SECONDS), patterns
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


def fetch(repo: str, patterns: Sequence[str], revision: str, sizes: Mapping[str, int]) -> Path:
    """The folder in the hub's own cache with the files of a commit; downloaded only where they are not there yet.

    Args:
        sizes: bytes of each file, by its name in the repository, as pinned.

    Raises:
        UserError: they are not there and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot(local_files_only: bool) -> Path:
        return Path(
            snapshot_download(
                repo,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=local_files_only,
            )
        )

    try:
        folder = snapshot(local_files_only=True)
        if not _lacking(folder, sizes):
            return folder
    except LocalEntryNotFoundError:
        pass
    logger.info("downloading %s at %s: %d files, %.2f GB", repo, revision[:12], len(sizes), sum(sizes.values()) / 1e9)
    folder = _asked(repo, lambda: snapshot(local_files_only=False), patterns)
    if lacking := _lacking(folder, sizes):
        raise UserError(
            f"{folder / lacking[0]} is missing or not as large as the hub says ({sizes[lacking[0]]} bytes): "
            "delete it, and run again"
        )
    return folder


def _lacking(folder: Path, sizes: Mapping[str, int]) -> list[str]:
    return [
        name for name, size in sizes.items() if not (folder / name).is_file() or (folder / name).stat().st_size != size
    ]


def _asked(repo: str, ask: Callable[[], T], patterns: Sequence[str]) -> T:
    return asked(f"dataset {repo}", ask, otherwise=f"give `path` a local copy of the files {', '.join(patterns)}")
