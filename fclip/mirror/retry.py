"""How long to wait before a request is repeated."""

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

FIRST_WAIT_S = 0.5
MAX_WAIT_S = 30.0
MAX_RETRY_AFTER_S = 120.0


class TransientError(Exception):
    """An error that may be gone at the next attempt.

    Attributes:
        wait_s: how long the server asked to wait; None if it did not.
        whole_host: whether the error concerns the whole host, not one address.
    """

    def __init__(self, detail: str, wait_s: float | None = None, *, whole_host: bool = True) -> None:
        super().__init__(detail)
        self.wait_s = wait_s
        self.whole_host = whole_host


def backoff(attempt: int) -> float:
    """Return the seconds to wait after attempt number `attempt` (from 0): exponential, capped, with full jitter."""
    return random.uniform(0, min(MAX_WAIT_S, FIRST_WAIT_S * 2**attempt))


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3: seconds or an HTTP date), capped.

    Return None without a header or for an invalid one.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(MAX_RETRY_AFTER_S, float(text[:9]))
    try:
        date = parsedate_to_datetime(text)
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(MAX_RETRY_AFTER_S, max(0.0, seconds))
