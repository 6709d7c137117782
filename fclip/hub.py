"""Ask the Hugging Face hub, and say in one line why it gave nothing."""

import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

from fclip.errors import UserError

T = TypeVar("T")
SECONDS = 30
"""How long the hub may take to say what a repository holds."""


def asked(what: str, ask: Callable[[], T], *, otherwise: str) -> T:
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
