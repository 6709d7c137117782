"""The error that a user can cause."""

import re

# What moves a terminal's cursor, turns its text around, or is in no encoding.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class UserError(ValueError):
    """What a user can cause and mend: one message that says what is wrong, where, and what to do.

    Entry points print the message alone, without a traceback; anything else that escapes is a bug. It may quote what
    strangers wrote: it is made `printable`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """`text` with control characters (but tabs and line ends) and lone surrogates as backslash escapes."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
