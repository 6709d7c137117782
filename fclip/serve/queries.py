"""The log of queries: what people look for and do not find. No addresses of clients are kept."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)
MAX_BYTES = 64 * 2**20  # of one file; the one before it stays
SHOWN_CHARS = 200


class QueryLog:
    """Appends a line of JSON for each search. Thread-safe. An error of the disk is logged and stops no search."""

    def __init__(self, path: Path | None) -> None:
        """Args: path: of the log; None for none."""
        self._path = path
        self._lock = threading.Lock()

    def add(
        self, *, text: str | None, has_image: bool, filters: Mapping[str, Any], role: str, num_results: int
    ) -> None:
        if self._path is None:
            return
        entry = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "text": text[:SHOWN_CHARS] if text else None,
            "image": has_image,
            "filters": filters,
            "model": role,
            "results": num_results,
        }
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        try:
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                if self._path.exists() and self._path.stat().st_size > MAX_BYTES:
                    self._path.replace(self._path.with_suffix(".1.jsonl"))
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)
        except OSError as error:
            logger.error("The log of queries cannot be written: %s", error)


@dataclass(frozen=True)
class QuerySummary:
    """Searches in a log.

    Attributes:
        num_by_day: searches by day. num_with_image: with an image. num_filtered: with a filter.
        texts: texts with their number, the most frequent first; case and spaces are ignored.
        empty: texts and filters that found nothing, in the same form. filters: `name=value` in the same form.
    """

    num_searches: int
    num_by_day: dict[str, int]
    num_with_image: int
    num_filtered: int
    texts: list[tuple[str, int]]
    empty: list[tuple[str, int]]
    filters: list[tuple[str, int]]


def read_queries(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a log and of the one before it. Lines that were cut short are left out."""
    entries = []
    for file in (path.with_suffix(".1.jsonl"), path):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and {"at", "text", "filters", "results"} <= entry.keys():
                entries.append(entry)
    return entries


def summarise(entries: Sequence[Mapping[str, Any]], *, top: int) -> QuerySummary:
    """Count entries of a log. Args: top: length of each list."""
    return QuerySummary(
        num_searches=len(entries),
        num_by_day=dict(sorted(Counter(str(entry["at"])[:10] for entry in entries).items())),
        num_with_image=sum(bool(entry.get("image")) for entry in entries),
        num_filtered=sum(bool(entry["filters"]) for entry in entries),
        texts=_most(_plain(entry["text"]) for entry in entries if entry["text"])[:top],
        empty=_most(_described(entry) for entry in entries if not entry["results"])[:top],
        filters=_most(part for entry in entries for part in _filters(entry))[:top],
    )


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _filters(entry: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={value}"
        for name, values in entry["filters"].items()
        for value in ([values] if isinstance(values, str) else values)
    ]


def _described(entry: Mapping[str, Any]) -> str:
    parts = [_plain(entry["text"])] if entry["text"] else []
    return ", ".join([*parts, *(["an image"] if entry.get("image") else []), *_filters(entry)])


def _most(values: Iterable[str]) -> list[tuple[str, int]]:
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
