"""The metrics of the facade: requests by exchange, path and outcome, and what was asked of whom."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

# How a request ended: answered from the cache or from what others asked for, by the exchange, or
# not at all.
OUTCOMES: Final = ("hit", "shared", "pass", "refused", "no budget", "paused", "source down", "late")
UNKNOWN: Final = "unknown"  # the label of paths that are not listed

Counts = dict[tuple[str, str, str], int]


class _Requests(Collector):
    """Requests by exchange, path and outcome: plain numbers, as the answers of metrics/api.py."""

    def __init__(self) -> None:
        self.counts: Counts = {}

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(
            "perpcache_facade_requests",
            "Requests to the exchanges' own addresses, by path and outcome.",
            labels=("exchange", "path", "outcome"),
        )
        for labels, count in self.counts.items():
            family.add_metric(labels, count)
        return (family,)


class FacadeMetrics:
    """The counters of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        requests = _Requests()
        registry.register(requests)
        self._requests = requests.counts
        self._upstream = Counter(
            "perpcache_facade_upstream_requests_total",
            "Requests passed through to an exchange, by HTTP status, or error (no answer).",
            ("exchange", "status"),
            registry=registry,
        )

    def answered(self, exchange: str, path: str, outcome: str) -> None:
        labels = exchange, path, outcome
        self._requests[labels] = self._requests.get(labels, 0) + 1

    def upstream(self, exchange: str, status: str) -> None:
        self._upstream.labels(exchange, status).inc()
