"""What came of asking an address, and what is remembered of it."""

from dataclasses import dataclass
from typing import Literal

from fclip.mirror.store import Entry, Store


@dataclass(frozen=True)
class Look:
    """One address looked at. `kept`: it could not be asked, and what it gave before still stands."""

    address: str
    outcome: Literal["unchanged", "fetched", "missing", "refused", "too large", "failed", "kept"]
    detail: str = ""
    num_bytes: int = 0  # fetched


def settle(store: Store, address: str, before: Entry | None, now: Entry) -> Look:
    """Remember what an address gave; a failure replaces nothing but a failure."""
    if now.status == "failed" and before is not None and before.status != "failed":
        return Look(address, "kept", now.detail)
    if now is before:
        return Look(address, "unchanged")
    store.put(address, now)
    return Look(address, "fetched" if now.status == "stored" else now.status, now.detail, now.num_bytes)
