"""Measurements for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fclip.serve.batching import Batcher
from fclip.serve.served import Indexes

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """Counters of requests, and gauges that are read when they are asked for."""

    def __init__(self, batcher: Batcher, indexes: Indexes) -> None:
        self._registry = CollectorRegistry()
        self._indexes = indexes
        self._requests = Counter(
            "fclip_requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "fclip_request_seconds", "Time of a request.", ("route",), buckets=SECONDS, registry=self._registry
        )
        self._index = Gauge(
            "fclip_index_info",
            "Published indexes that are open.",
            ("role", "index", "version"),
            registry=self._registry,
        )
        self._products = Gauge("fclip_index_products", "Products of an index.", ("role",), registry=self._registry)
        for name, help_text, read in (
            ("fclip_batches", "Batches that the model computed.", lambda: batcher.num_batches),
            ("fclip_batch_inputs", "Texts and images in these batches.", lambda: batcher.num_inputs),
            ("fclip_index_switches", "Indexes that were replaced while serving.", lambda: indexes.num_switches),
        ):
            Gauge(name, help_text, registry=self._registry).set_function(read)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all measurements in Prometheus' text format."""
        self._index.clear()
        for role, served in self._indexes.current().items():
            self._index.labels(role, served.publication.index, str(served.publication.version)).set(1)
            self._products.labels(role).set(served.index.manifest.num_products)
        return generate_latest(self._registry)
