"""The metrics of a process of live data: the feeds of candles by exchange, and its collectors."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from metrics.collectors import CollectorMetrics
from metrics.event_loop import loop_lag, process_registry
from metrics.outputs import OutputMetrics

# Closing events come 0.2 to 2 s after the close on Binance, up to a minute after it on Bybit.
_LAG_S: Final = (
    *(0.1, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 7.5),
    *(10, 15, 20, 30, 45, 60, 75),
)


class FeedNumbers(NamedTuple):
    """What one feed tells: `connections`, `streams`, `markets`, `unproven` (markets by reason) and
    `silent` are those of now; `messages`, `reconnects` (by reason) and `restarts` of the log are
    counted since the feed began."""

    connections: int = 0
    streams: int = 0
    markets: int = 0
    unproven: Mapping[str, int] = {}
    silent: int = 0
    messages: int = 0
    reconnects: Mapping[str, int] = {}
    restarts: int = 0


class LiveMetrics:
    """The metrics of one process of live data; those of its collectors are in `collectors` and
    those of their outputs in `outputs`.

    An exchange is told of from `watch` on, with `perpcache_live_lease_held` 0 and nothing open
    while another process feeds it.
    """

    def __init__(self) -> None:
        self.registry = process_registry()
        self.loop_lag = loop_lag(self.registry)
        self.collectors = CollectorMetrics(self.registry)
        self.outputs = OutputMetrics(self.registry)
        self._feeds = _Feeds()
        self.registry.register(self._feeds)
        self._lag = Histogram(
            "perpcache_live_closing_lag_seconds",
            "How late the first closing event of a candle came after its close.",
            ("exchange",),
            buckets=_LAG_S,
            registry=self.registry,
        )

    def watch(self, exchange: str, *, unproven: Iterable[str], reconnects: Iterable[str]) -> None:
        """Creates the exchange's series at 0, with these reasons."""
        self._lag.labels(exchange)
        self._feeds.watch(exchange, unproven, reconnects)

    def closing_lag(self, exchange: str) -> Callable[[float], None]:
        """What to call with the lag of each closing event, in seconds."""
        return self._lag.labels(exchange).observe

    @contextlib.contextmanager
    def feeding(self, exchange: str, read: Callable[[], FeedNumbers]) -> Iterator[None]:
        """The process holds the exchange's lease inside this context: `read` tells at each scrape
        what its feed does. Counts go on where the feed before ended."""
        self._feeds.begin(exchange, read)
        try:
            yield
        finally:
            self._feeds.end(exchange)


class _Feed:
    """One exchange: the counts of the feeds that have ended, and how to read the one of now."""

    def __init__(self, unproven: Iterable[str], reconnects: Iterable[str]) -> None:
        self.reasons = tuple(unproven)
        self.read: Callable[[], FeedNumbers] | None = None
        self.reconnects = Counter(dict.fromkeys(reconnects, 0))
        self.messages = 0
        self.restarts = 0

    def now(self) -> FeedNumbers:
        """The gauges of now, and the counts since the process began."""
        numbers = self.read() if self.read is not None else FeedNumbers()
        reconnects = self.reconnects.copy()
        reconnects.update(numbers.reconnects)
        return numbers._replace(
            unproven={**dict.fromkeys(self.reasons, 0), **numbers.unproven},
            messages=self.messages + numbers.messages,
            reconnects=reconnects,
            restarts=self.restarts + numbers.restarts,
        )

    def end(self) -> None:
        numbers = self.now()
        self.read = None
        self.messages, self.restarts = numbers.messages, numbers.restarts
        self.reconnects = Counter(numbers.reconnects)


class _Feeds(Collector):
    """`perpcache_live_...` of all exchanges, read from the feeds at each scrape."""

    def __init__(self) -> None:
        self._by_exchange: dict[str, _Feed] = {}

    def watch(self, exchange: str, unproven: Iterable[str], reconnects: Iterable[str]) -> None:
        self._by_exchange.setdefault(exchange, _Feed(unproven, reconnects))

    def begin(self, exchange: str, read: Callable[[], FeedNumbers]) -> None:
        self._by_exchange.setdefault(exchange, _Feed((), ())).read = read

    def end(self, exchange: str) -> None:
        self._by_exchange[exchange].end()

    def collect(self) -> Iterable[Metric]:
        held = _gauge("lease_held", "Whether this process feeds the exchange.")
        connections = _gauge("connections", "Open connections of the feed.")
        streams = _gauge("streams", "Streams that the exchange has acknowledged.")
        markets = _gauge("markets", "Markets that the feed follows.")
        unproven = _gauge("unproven_markets", "Markets whose candles need REST.", "reason")
        silent = _gauge("silent_markets", "Markets without a message in the last closed candle.")
        messages = _counter("messages", "Messages that the feed has received.")
        reconnects = _counter("reconnects", "Connections that ended, by reason.", "reason")
        restarts = _counter("log_restarts", "How often the candle log began anew within a feed.")
        for exchange, feed in tuple(self._by_exchange.items()):
            numbers, label = feed.now(), (exchange,)
            held.add_metric(label, feed.read is not None)
            connections.add_metric(label, numbers.connections)
            streams.add_metric(label, numbers.streams)
            markets.add_metric(label, numbers.markets)
            silent.add_metric(label, numbers.silent)
            messages.add_metric(label, numbers.messages)
            restarts.add_metric(label, numbers.restarts)
            for reason, count in numbers.unproven.items():
                unproven.add_metric((exchange, reason), count)
            for reason, count in numbers.reconnects.items():
                reconnects.add_metric((exchange, reason), count)
        return (
            *(held, connections, streams, markets, unproven, silent),
            *(messages, reconnects, restarts),
        )


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"perpcache_live_{name}", documentation, labels=("exchange", *labels))


def _counter(name: str, documentation: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(
        f"perpcache_live_{name}", documentation, labels=("exchange", *labels)
    )
