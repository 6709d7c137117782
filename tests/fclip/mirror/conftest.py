"""Fixtures: a local web server, and access to it with a separate mirror."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fclip.mirror import retry
from fclip.mirror.config import DownloadConfig
from fclip.mirror.source_access import SourceAccess
from tests.fclip.mirror.local_web import Web, serving


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A local web server, with short retry waits and without the machine's proxies."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as server:
        yield server


@pytest.fixture
def access(tmp_path: Path) -> Callable[..., SourceAccess]:
    """A function that returns source access with a mirror in the test's folder and the given download settings."""

    def make(*, refresh: bool = True, limit: int | None = None, **download: Any) -> SourceAccess:
        config = DownloadConfig(**{"allow_private": True, "retries": 1, **download})
        return SourceAccess(tmp_path, tmp_path / "mirror", config, refresh=refresh, limit=limit)

    return make
