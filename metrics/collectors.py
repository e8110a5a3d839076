"""The metrics of live collectors: messages, errors by type, and how long connections have held."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Names come from users and exchanges. What exceeds these is counted under the name `other`.
MOST_SERIES: Final = 1000
MOST_EXCHANGES: Final = 32
OTHER: Final = "other"


class ErrorType(StrEnum):
    """The values of the label `error_type`."""

    CONNECTION = "connection"  # connecting failed, or the connection was lost
    SUBSCRIPTION = "subscription"
    MESSAGE = "message"  # reading or handling messages failed
    SILENCE = "silence"
    DISCONNECT = "disconnect"
    CALLBACK = "callback"
    CALLBACK_TIMEOUT = "callback_timeout"
    INTERNAL = "internal"


class CollectorMetrics:
    """The collectors of one process. `registry`: where they are registered; none: in one of its
    own, so that metrics of the same names that users register do not clash with these."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._messages = Counter(
            "collector_messages_total",
            "Data points that collectors read.",
            ("exchange", "symbol", "type"),
            registry=self.registry,
        )
        self._errors = Counter(
            "collector_errors_total",
            "Errors of collectors.",
            ("exchange", "error_type"),
            registry=self.registry,
        )
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._exchanges: set[str] = set()
        self._uptimes = _Uptimes()
        self.registry.register(self._uptimes)

    def watch(self, exchange: str) -> None:
        """Creates the series of an exchange at 0, so that a first error shows as a rise."""
        name = self._exchange(exchange)
        for kind in ErrorType:
            self._errors.labels(name, kind.value)
        self._uptimes.watch(name)

    def message(self, exchange: str, symbol: str, kind: str) -> None:
        counter = self._counters.get((exchange, symbol, kind))
        if counter is None:
            counter = self._new_counter(exchange, symbol, kind)
        counter.inc()

    def error(self, exchange: str, kind: ErrorType) -> None:
        self._errors.labels(self._exchange(exchange), kind.value).inc()

    def connected(self, exchange: str, owner: object, uptime_s: Callable[[], float]) -> None:
        """`uptime_s` is read at each scrape until `disconnected` with the same owner."""
        self._uptimes.add(self._exchange(exchange), owner, uptime_s)

    def disconnected(self, exchange: str, owner: object) -> None:
        self._uptimes.remove(self._exchange(exchange), owner)

    def _new_counter(self, exchange: str, symbol: str, kind: str) -> Counter:
        name = self._exchange(exchange)
        if len(self._counters) >= MOST_SERIES:
            return self._messages.labels(name, OTHER, kind)
        counter = self._messages.labels(name, symbol, kind)
        self._counters[exchange, symbol, kind] = counter
        return counter

    def _exchange(self, exchange: str) -> str:
        if exchange in self._exchanges:
            return exchange
        if len(self._exchanges) >= MOST_EXCHANGES:
            return OTHER
        self._exchanges.add(exchange)
        return exchange


class _Uptimes(Collector):
    """`collector_uptime_seconds`: of an exchange's connections the one that has held longest."""

    def __init__(self) -> None:
        self._by_exchange: dict[str, dict[int, Callable[[], float]]] = {}

    def watch(self, exchange: str) -> None:
        self._by_exchange.setdefault(exchange, {})

    def add(self, exchange: str, owner: object, uptime_s: Callable[[], float]) -> None:
        self._by_exchange.setdefault(exchange, {})[id(owner)] = uptime_s

    def remove(self, exchange: str, owner: object) -> None:
        self._by_exchange.get(exchange, {}).pop(id(owner), None)

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "collector_uptime_seconds",
            "How long the connection that has held longest has held; 0 without one.",
            labels=("exchange",),
        )
        # Scrapes may come from another thread: what is read is a copy.
        for exchange, uptimes in tuple(self._by_exchange.items()):
            held_s = [uptime_s() for uptime_s in tuple(uptimes.values())]
            family.add_metric((exchange,), max(held_s, default=0.0))
        yield family
