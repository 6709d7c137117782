"""The configuration of downloads: the section `ingest.download` of params.yaml."""

from fclip.config import config


@config
class DownloadConfig:
    """How remote files and images are downloaded. These settings do not change what is ingested."""

    connections: int = 32
    """Largest number of requests at the same time."""
    per_host: int = 8
    """Largest number of requests to one host at the same time."""
    timeout_s: float = 20.0
    """Seconds to connect, and seconds without a byte, before a request fails. An image may take 6 times as long."""
    retries: int = 3
    """Further attempts after status 5xx or 429, a timeout or a broken connection, from 0 to 20. Waiting times double;
    Retry-After is respected."""
    max_bytes: int = 32 * 2**20
    """Larger images, in bytes, are refused."""
    max_redirects: int = 5
    """Largest number of redirects for one request, from 0 to 20."""
    allow_private: bool = False
    """Allow private, loopback, link-local and reserved addresses. Only then are the proxies of the environment
    (`HTTPS_PROXY` …) used, since fclip cannot check addresses behind a proxy."""

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("retries", "max_redirects"):
            if not 0 <= getattr(self, name) <= 20:
                raise ValueError(f"{name} must be from 0 to 20, not {getattr(self, name)}")
        if not 0 < self.timeout_s <= 3600:
            raise ValueError(f"timeout_s must be above 0 and at most 3600 seconds, not {self.timeout_s}")
