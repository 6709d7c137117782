"""What the hub has of a model in transformers' form, and the files of one commit on this machine."""

from pathlib import Path

from fclip.errors import UserError
from fclip.mirror.hub import SECONDS, ask_hub, fetch_snapshot

OTHERWISE = "give `model` a folder with a local copy of its files"


def look_up(repo: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """The commit (the newest, or `revision`) and the names of its files; nothing is downloaded.

    Raises:
        UserError: the hub cannot be reached, or has no such model or commit.
    """
    from huggingface_hub import HfApi

    info = ask_hub(
        f"model {repo}", lambda: HfApi().model_info(repo, revision=revision, timeout=SECONDS), otherwise=OTHERWISE
    )
    return str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ())


def fetch(repo: str, files: tuple[str, ...], revision: str) -> Path:
    """The folder in the hub's own cache with these files of a commit; downloaded only where they are not there yet.

    Raises:
        UserError: they are not there and cannot be downloaded.
    """

    def lacking(folder: Path) -> list[str]:
        return [name for name in files if not (folder / name).is_file()]

    folder = fetch_snapshot(
        "model", repo, revision, files, is_whole=lambda folder: not lacking(folder), otherwise=OTHERWISE
    )
    if missing := lacking(folder):
        raise UserError(f"model {repo}: the hub has no {missing[0]} at {revision}: run `fclip pin`")
    return folder
