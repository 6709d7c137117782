"""How files and images are fetched from elsewhere."""

from fclip.config import config


@config
class DownloadConfig:
    """The section `ingest.download` of params.yaml; none of it changes what is ingested, only how it is fetched.

    connections, per_host: requests at once, over all and to one host.
    timeout_s: seconds to connect, and without a byte; an image may take `IMAGE_TIMEOUTS` times as long in all.
    retries: further attempts after one that may help next time (5xx, 429, timeouts, broken connections).
    max_bytes: a larger image is refused.
    allow_private: whether private, loopback, link-local and reserved addresses may be asked. Only then are the proxies
        of the environment (`HTTPS_PROXY` …) used: behind one, where a name leads is not ours to check.
    """

    connections: int = 32
    per_host: int = 8
    timeout_s: float = 20.0
    retries: int = 3
    max_bytes: int = 32 * 2**20
    max_redirects: int = 5
    allow_private: bool = False

    def __post_init__(self) -> None:
        for name in ("connections", "per_host", "max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("retries", "max_redirects"):
            if not 0 <= getattr(self, name) <= 20:
                raise ValueError(f"{name} must be from 0 to 20, not {getattr(self, name)}")
        if not 0 < self.timeout_s <= 3600:
            raise ValueError(f"timeout_s must be above 0 and at most 3600 seconds, not {self.timeout_s}")
