"""The metrics of workers: their runs by name and state, and the WebSocket workers held here."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

# Names come from users. What exceeds this is counted under the name `other`.
MOST_WORKERS: Final = 500
OTHER: Final = "other"
STATES: Final = ("complete", "failed", "aborted")
_RUN_S: Final = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class StreamNumbers(NamedTuple):
    """What a held WebSocket worker tells; the first three are counted since it was taken."""

    messages: int = 0
    published: int = 0
    restarts: int = 0
    lag_s: float = 0.0
    waiting: int = 0
    last_message_ms: int = 0


class WorkersMetrics:
    """The workers of one process, in `registry`. Their label is `name`: `worker` is the process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._names: set[str] = set()
        self._runs = Counter(
            "perpcache_worker_runs_total",
            "Runs of scheduled workers that ended here, by state.",
            ("name", "state"),
            registry=registry,
        )
        self._running = Gauge(
            "perpcache_worker_running",
            "Runs of scheduled workers that go on here.",
            ("name",),
            registry=registry,
        )
        self._durations = Histogram(
            "perpcache_worker_run_seconds",
            "How long runs of scheduled workers took.",
            ("name",),
            buckets=_RUN_S,
            registry=registry,
        )
        self._streams = _Streams()
        registry.register(self._streams)

    def watch(self, schedules: Iterable[str], streams: Iterable[str]) -> None:
        """Creates the series of these workers at 0, so that a first failure shows as a rise."""
        for name in schedules:
            label = self._label(name)
            self._running.labels(label)
            for state in STATES:
                self._runs.labels(label, state)
        for name in streams:
            self._streams.watch(self._label(name))

    def run_started(self, name: str) -> None:
        self._running.labels(self._label(name)).inc()

    def run_ended(self, name: str, state: str, seconds: float) -> None:
        """Counts a run that `run_started` told of."""
        label = self._label(name)
        self._running.labels(label).dec()
        self._runs.labels(label, state).inc()
        self._durations.labels(label).observe(seconds)

    def stream_taken(self, name: str, read: Callable[[], StreamNumbers]) -> None:
        """This process holds a WebSocket worker; `read` is asked at each scrape."""
        self._streams.begin(self._label(name), read)

    def stream_left(self, name: str) -> None:
        self._streams.end(self._label(name))

    def _label(self, name: str) -> str:
        if name not in self._names:
            if len(self._names) >= MOST_WORKERS:
                return OTHER
            self._names.add(name)
        return name


class _Stream:
    """One WebSocket worker: the counts of the holdings that are over, and how to read this one."""

    def __init__(self) -> None:
        self.read: Callable[[], StreamNumbers] | None = None
        self.before = StreamNumbers()

    def now(self) -> StreamNumbers:
        now, before = self.read() if self.read is not None else StreamNumbers(), self.before
        return now._replace(
            messages=before.messages + now.messages,
            published=before.published + now.published,
            restarts=before.restarts + now.restarts,
            last_message_ms=max(before.last_message_ms, now.last_message_ms),
        )


class _Streams(Collector):
    """`perpcache_worker_stream_...` of all WebSocket workers, read at each scrape."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Stream] = {}

    def watch(self, name: str) -> None:
        self._by_name.setdefault(name, _Stream())

    def begin(self, name: str, read: Callable[[], StreamNumbers]) -> None:
        self._by_name.setdefault(name, _Stream()).read = read

    def end(self, name: str) -> None:
        stream = self._by_name[name]
        stream.before, stream.read = stream.now(), None

    def collect(self) -> Iterable[Metric]:
        held = _gauge("held", "Whether this process holds the WebSocket worker.")
        lag = _gauge("lag_seconds", "How long the last message had waited for the function.")
        waiting = _gauge("waiting", "Messages that have come and wait for the function.")
        last = _gauge("last_message_timestamp_seconds", "When the last message was taken; 0: none.")
        messages = _counter("messages", "Messages that WebSocket workers have taken.")
        published = _counter("published", "Values that WebSocket workers have published.")
        restarts = _counter("restarts", "How often a WebSocket worker failed and began again.")
        for name, stream in tuple(self._by_name.items()):
            numbers, label = stream.now(), (name,)
            held.add_metric(label, stream.read is not None)
            lag.add_metric(label, numbers.lag_s)
            waiting.add_metric(label, numbers.waiting)
            last.add_metric(label, numbers.last_message_ms / 1000)
            messages.add_metric(label, numbers.messages)
            published.add_metric(label, numbers.published)
            restarts.add_metric(label, numbers.restarts)
        return held, lag, waiting, last, messages, published, restarts


def _gauge(name: str, documentation: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"perpcache_worker_stream_{name}", documentation, labels=("name",))


def _counter(name: str, documentation: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"perpcache_worker_stream_{name}", documentation, labels=("name",))
