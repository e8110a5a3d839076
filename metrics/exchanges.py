"""The metrics of exchange requests: counts, durations, errors, retries, weight used and left.

The kinds of errors are the classes of venues/errors.py.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

_EXCHANGE_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
Instrument = TypeVar("Instrument", bound=MetricWrapperBase)


class ExchangeMetrics:
    """The exchange requests of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._children: dict[tuple[MetricWrapperBase, tuple[str, ...]], MetricWrapperBase] = {}
        by_endpoint = ("exchange", "endpoint")
        by_counter = ("exchange", "counter")
        self._requests = Counter(
            "perpcache_exchange_requests_total",
            "Requests sent, by HTTP status, or timeout, error (no answer) and cancelled.",
            (*by_endpoint, "status"),
            registry=registry,
        )
        self._durations = Histogram(
            "perpcache_exchange_request_duration_seconds",
            "From sending a request to the end of its answer.",
            by_endpoint,
            buckets=_EXCHANGE_S,
            registry=registry,
        )
        self._retries = Counter(
            "perpcache_exchange_retries_total",
            "Requests that were retried.",
            by_endpoint,
            registry=registry,
        )
        self._errors = Counter(
            "perpcache_exchange_errors_total",
            "Requests that failed, by kind of error.",
            ("exchange", "kind"),
            registry=registry,
        )
        self._pauses = Counter(
            "perpcache_exchange_pauses_total",
            "Answers that made this process pause its requests, all or those of one limit.",
            ("exchange",),
            registry=registry,
        )
        self._pause_left = Gauge(
            "perpcache_exchange_pause_left_seconds",
            "How much longer requests to the exchange are paused.",
            ("exchange",),
            registry=registry,
        )
        self._weight = Counter(
            "perpcache_exchange_weight_total",
            "Weight of the requests sent, by the limit it counts against.",
            by_counter,
            registry=registry,
        )
        self._weight_used = Gauge(
            "perpcache_exchange_weight_used",
            "Weight of our share of the limit in use now, as far as this process knows.",
            by_counter,
            registry=registry,
        )
        self._weight_left = Gauge(
            "perpcache_exchange_weight_left",
            "Weight of our share of the limit still free now, as far as this process knows.",
            by_counter,
            registry=registry,
        )
        self._limit_wait = Counter(
            "perpcache_exchange_limit_wait_seconds_total",
            "Time that requests waited for the limit, summed over requests.",
            by_counter,
            registry=registry,
        )

        self._clock_offset = Gauge(
            "perpcache_exchange_clock_offset_seconds",
            "How far the exchange's clock was ahead of this machine's when a job last read it.",
            ("exchange",),
            registry=registry,
        )

    def watch_exchange(self, exchange: str, endpoints: Sequence[str], kinds: Sequence[str]) -> None:
        """Creates the exchange's counters at 0, so that they exist before their first event."""
        self._pauses.labels(exchange)
        for endpoint in endpoints:
            self._retries.labels(exchange, endpoint)
        for kind in kinds:
            self._errors.labels(exchange, kind)

    def watch_limit(
        self, exchange: str, counter: str, quantity: int, used: Callable[[], int]
    ) -> None:
        """Exposes a limit: `quantity` is our share, and each scrape calls `used`."""
        self._weight.labels(exchange, counter)
        self._limit_wait.labels(exchange, counter)
        self._weight_used.labels(exchange, counter).set_function(used)
        self._weight_left.labels(exchange, counter).set_function(lambda: max(0, quantity - used()))

    def watch_pause(self, exchange: str, left_s: Callable[[], float]) -> None:
        self._pause_left.labels(exchange).set_function(left_s)

    def admitted(self, exchange: str, counter: str, weight: int, waited_s: float) -> None:
        """Counts the weight of a request that the limits admitted, and the time it waited."""
        self._child(self._weight, exchange, counter).inc(weight)
        if waited_s > 0:
            self._child(self._limit_wait, exchange, counter).inc(waited_s)

    def request_ended(self, exchange: str, endpoint: str, status: str, duration_s: float) -> None:
        """Counts a request; `status` is HTTP's, or timeout, error or cancelled."""
        self._child(self._requests, exchange, endpoint, status).inc()
        self._child(self._durations, exchange, endpoint).observe(max(0.0, duration_s))

    def _child(self, instrument: Instrument, *labels: str) -> Instrument:
        """`instrument.labels(*labels)`, cached because it dominates the cost of counting."""
        child = self._children.get((instrument, labels))
        if child is None:
            child = self._children[instrument, labels] = instrument.labels(*labels)
        return cast(Instrument, child)

    def failed(self, exchange: str, kind: str) -> None:
        self._errors.labels(exchange, kind).inc()

    def clock_read(self, exchange: str, offset_s: float) -> None:
        self._clock_offset.labels(exchange).set(offset_s)

    def paused(self, exchange: str) -> None:
        self._pauses.labels(exchange).inc()

    def retried(self, exchange: str, endpoint: str) -> None:
        self._retries.labels(exchange, endpoint).inc()
