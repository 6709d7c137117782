"""A local web, and the outside as seen from a folder of its own."""

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
    """A web that is asked again soon, and through no proxy of this machine's."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as found:
        yield found


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., SourceAccess]:
    """The outside with a mirror in the test's folder, and these download settings."""

    def outside(*, refresh: bool = True, limit: int | None = None, **download: Any) -> SourceAccess:
        config = DownloadConfig(**{"allow_private": True, "retries": 1, **download})
        return SourceAccess(tmp_path, tmp_path / "mirror", config, refresh=refresh, limit=limit)

    return outside
