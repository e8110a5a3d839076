"""The metrics of the facade: requests by exchange, path and outcome, and what was asked of whom."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

# How a request ended: answered from the cache or from what others asked for, by the exchange, or
# not at all.
OUTCOMES: Final = ("hit", "shared", "pass", "refused", "no budget", "paused", "source down", "late")
UNKNOWN: Final = "unknown"  # the label of paths that are not listed


class FacadeMetrics:
    """The counters of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._requests = Counter(
            "perpcache_facade_requests_total",
            "Requests to the exchanges' own addresses, by path and outcome.",
            ("exchange", "path", "outcome"),
            registry=registry,
        )
        self._upstream = Counter(
            "perpcache_facade_upstream_requests_total",
            "Requests passed through to an exchange, by HTTP status, or error (no answer).",
            ("exchange", "status"),
            registry=registry,
        )
        self._children: dict[tuple[str, str, str], Counter] = {}

    def answered(self, exchange: str, path: str, outcome: str) -> None:
        labels = exchange, path, outcome
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._requests.labels(*labels)
        child.inc()

    def upstream(self, exchange: str, status: str) -> None:
        self._upstream.labels(exchange, status).inc()
