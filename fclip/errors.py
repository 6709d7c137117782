"""The error that a user can cause."""


class UserError(ValueError):
    """What a user can cause and mend: one message that says what is wrong, where, and what to do.

    Entry points print the message alone, without a traceback; anything else that escapes is a bug.
    """
