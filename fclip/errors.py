"""Errors that a user can cause and fix."""

import re

# Control characters, characters that change the text direction, and lone surrogates.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """An error that a user can cause and fix. The message says what is wrong, where, and what to do.

    Entry points print only the message, without a traceback. Any other uncaught exception is a bug. The message may
    quote untrusted text, so it is made `printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class CannotAverageError(UserError):
    """An average of models that cannot be made. A run can go on without it."""


def printable(text: str) -> str:
    """Return `text` with control characters except tab and newline, and lone surrogates, as backslash escapes."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
