"""Repositories of models on the Hugging Face hub: their newest commit and its files."""

from fclip.errors import UserError

HUB_PREFIX = "hf-hub:"
HUB_REMEDY = "set `model` to a folder with a local copy of its files"


def look_up(repo: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """Return the newest commit, or that of `revision`, and the names of its files, without downloading them.

    Raises:
        UserError: the hub cannot be reached, or has no such model or revision.
    """
    from huggingface_hub import HfApi

    from fclip.mirror.hub import HUB_TIMEOUT_S, call_hub

    info = call_hub(
        f"model {repo}", lambda: HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT_S), remedy=HUB_REMEDY
    )
    return str(info.sha), tuple(sibling.rfilename for sibling in info.siblings or ())


def newest_commit(repo: str, revision: str | None) -> str | None:
    """Return the newest commit, or that of `revision`; None if the hub cannot be reached."""
    try:
        return look_up(repo, revision)[0]
    except UserError:
        return None
