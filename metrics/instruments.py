"""What each process counts about itself, as Prometheus instruments; no store, no HTTP.

ApiMetrics         requests and latencies of one API process
WorkerMetrics      jobs and leases of one worker, and `exchange`:
ExchangeMetrics    what was asked of the exchanges, and what is left of their limits
loop_watched       measures how late the event loop runs what is due

Each has its own registry, made where the process is composed. Names are in base units and under
`perpcache_`; a label's values are few and known beforehand: never a symbol or a raw path.
"""

import asyncio
import contextlib
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, TypeVar, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_HTTP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_HTTP_BOUNDS: Final = (*map(floatToGoString, _HTTP_S), "+Inf")
_EXCHANGE_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_JOB_S: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 3600)
_LAG_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LAG_EVERY_S: Final = 0.25
_LAG_LOGGED_S: Final = 1.0
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"))
Instrument = TypeVar("Instrument", bound=MetricWrapperBase)
OTHER: Final = "other"  # a path that no route has, a method that nobody uses

log = structlog.get_logger(__name__)


def _registry() -> CollectorRegistry:
    """A registry that also tells memory, processor time and open files of this process."""
    registry = CollectorRegistry()
    ProcessCollector(namespace="perpcache", registry=registry)
    return registry


def _loop_lag(registry: CollectorRegistry) -> Histogram:
    return Histogram(
        "perpcache_event_loop_lag_seconds",
        f"How late the event loop ran a timer, measured every {_LAG_EVERY_S:g} s.",
        buckets=_LAG_S,
        registry=registry,
    )


class _Answers(Collector):
    """HTTP answers by method, route and status.

    Every poll of every bot passes here, on one event loop: so these are plain numbers, which take
    a tenth of the time of the library's locked ones.
    """

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int], _Tally] = {}

    def count(self, method: str, route: str, status: int, duration_s: float | None) -> None:
        tally = self._tallies.get((method, route, status))
        if tally is None:
            method = method if method in _METHODS else OTHER
            tally = self._tallies.setdefault((method, route, status), _Tally())
        tally.answers += 1
        if duration_s is not None:
            tally.seconds += duration_s
            tally.buckets[bisect_left(_HTTP_S, duration_s)] += 1

    def collect(self) -> Iterable[Metric]:
        labels = ("method", "route", "status")
        requests = CounterMetricFamily(
            "perpcache_http_requests", "Requests answered, by route and status.", labels=labels
        )
        durations = HistogramMetricFamily(
            "perpcache_http_request_duration_seconds",
            "From a request's arrival to the head of its answer; without those that asked to wait.",
            labels=labels,
        )
        for (method, route, status), tally in self._tallies.items():
            values = (method, route, str(status))
            requests.add_metric(values, tally.answers)
            counts = zip(_HTTP_BOUNDS, accumulate(tally.buckets), strict=True)
            durations.add_metric(values, list(counts), tally.seconds)
        return (requests, durations)


class _Tally:
    """Answers of one kind; how many took how long, by the buckets of _HTTP_S."""

    __slots__ = ("answers", "buckets", "seconds")

    def __init__(self) -> None:
        self.answers = 0
        self.seconds = 0.0
        self.buckets = [0] * len(_HTTP_BOUNDS)


class ApiMetrics:
    """`process` names it among the API processes behind one listener.

    `group`: what they have in common, when there are several; each then shares its numbers with
    the others, so that whichever answers a scrape can tell them all.
    """

    def __init__(self, process: str = "api-1", *, group: str | None = None) -> None:
        self.process = process
        self.group = group
        self.registry = _registry()
        self.loop_lag = _loop_lag(self.registry)
        self._http = _Answers()
        self.registry.register(self._http)
        self._waiting = Gauge(
            "perpcache_http_waiting_requests",
            "Requests held until there is a newer document.",
            registry=self.registry,
        )

    def answered(self, method: str, route: str, status: int, duration_s: float | None) -> None:
        """`route` is a template; `duration_s` None for a request that asked to wait."""
        self._http.count(method, route, status, duration_s)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a request that is held."""
        self._waiting.inc()
        try:
            yield
        finally:
            self._waiting.dec()


class ExchangeMetrics:
    """What one process asked of the exchanges."""

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
            "Requests that were made once more.",
            by_endpoint,
            registry=registry,
        )
        self._errors = Counter(
            "perpcache_exchange_errors_total",
            "Requests that did not succeed, by what that means.",
            ("exchange", "kind"),
            registry=registry,
        )
        self._pauses = Counter(
            "perpcache_exchange_pauses_total",
            "Answers that asked this process to stay away for a while.",
            ("exchange",),
            registry=registry,
        )
        self._pause_left = Gauge(
            "perpcache_exchange_pause_left_seconds",
            "How much longer nothing is asked of the exchange.",
            ("exchange",),
            registry=registry,
        )
        self._weight = Counter(
            "perpcache_exchange_weight_total",
            "Weight of the requests sent, by the limit that it counts against.",
            by_counter,
            registry=registry,
        )
        self._weight_used = Gauge(
            "perpcache_exchange_weight_used",
            "What of our share of the limit is taken now, as far as this process knows.",
            by_counter,
            registry=registry,
        )
        self._weight_left = Gauge(
            "perpcache_exchange_weight_left",
            "What is left of our share of the limit now, as far as this process knows.",
            by_counter,
            registry=registry,
        )
        self._limit_wait = Counter(
            "perpcache_exchange_limit_wait_seconds_total",
            "Time that requests waited for room within the limit, added up over requests.",
            by_counter,
            registry=registry,
        )

    def watch_exchange(self, exchange: str, endpoints: Sequence[str], kinds: Sequence[str]) -> None:
        """Makes the exchange's counters begin at 0 rather than appear with their first event."""
        self._pauses.labels(exchange)
        for endpoint in endpoints:
            self._retries.labels(exchange, endpoint)
        for kind in kinds:
            self._errors.labels(exchange, kind)

    def watch_limit(
        self, exchange: str, counter: str, quantity: int, used: Callable[[], int]
    ) -> None:
        """`used` is asked whenever the numbers are read; `quantity` is our share of the limit."""
        self._weight.labels(exchange, counter)
        self._limit_wait.labels(exchange, counter)
        self._weight_used.labels(exchange, counter).set_function(used)
        self._weight_left.labels(exchange, counter).set_function(lambda: max(0, quantity - used()))

    def watch_pause(self, exchange: str, left_s: Callable[[], float]) -> None:
        self._pause_left.labels(exchange).set_function(left_s)

    def admitted(self, exchange: str, counter: str, weight: int, waited_s: float) -> None:
        self._child(self._weight, exchange, counter).inc(weight)
        if waited_s > 0:
            self._child(self._limit_wait, exchange, counter).inc(waited_s)

    def asked(self, exchange: str, endpoint: str, status: str, duration_s: float) -> None:
        self._child(self._requests, exchange, endpoint, status).inc()
        self._child(self._durations, exchange, endpoint).observe(max(0.0, duration_s))

    def _child(self, instrument: Instrument, *labels: str) -> Instrument:
        """`instrument.labels(*labels)`, which takes longer than all else here, looked up once."""
        child = self._children.get((instrument, labels))
        if child is None:
            child = self._children[instrument, labels] = instrument.labels(*labels)
        return cast(Instrument, child)

    def failed(self, exchange: str, kind: str) -> None:
        self._errors.labels(exchange, kind).inc()

    def paused(self, exchange: str) -> None:
        self._pauses.labels(exchange).inc()

    def retried(self, exchange: str, endpoint: str) -> None:
        self._retries.labels(exchange, endpoint).inc()


class WorkerMetrics:
    """What one worker did: jobs by id, leases by lane."""

    def __init__(self) -> None:
        self.registry = _registry()
        self.loop_lag = _loop_lag(self.registry)
        self.exchange = ExchangeMetrics(self.registry)
        self._runs = Counter(
            "perpcache_job_runs_total",
            "Runs of a job that ended here: complete, failed, aborted, queued (handed back), lost.",
            ("job_id", "outcome"),
            registry=self.registry,
        )
        self._durations = Histogram(
            "perpcache_job_duration_seconds",
            "How long a run took.",
            ("job_id", "outcome"),
            buckets=_JOB_S,
            registry=self.registry,
        )
        self._running = Gauge(
            "perpcache_job_running", "Jobs running here now.", ("job_id",), registry=self.registry
        )
        self._lease_wait = Histogram(
            "perpcache_job_lease_wait_seconds",
            "From the asking for a job to a worker that holds the lease and takes it.",
            ("job_id",),
            buckets=_JOB_S,
            registry=self.registry,
        )
        self._leases = Counter(
            "perpcache_lease_requests_total",
            "Attempts to get a lane's lease: acquired, or busy (somebody else was faster).",
            ("lane", "outcome"),
            registry=self.registry,
        )
        self._rows = Counter(
            "perpcache_rows_total", "Rows published.", ("job_id",), registry=self.registry
        )
        self._last_success = Gauge(
            "perpcache_job_last_success_timestamp_seconds",
            "When a run last completed here.",
            ("job_id",),
            registry=self.registry,
        )
        self._last = {
            part: Gauge(
                f"perpcache_job_{part}",
                f"{what} of the last complete run.",
                ("job_id",),
                registry=self.registry,
            )
            for part, what in (
                ("rows", "Rows"),
                ("markets", "Markets"),
                ("missing", "Parts named as missing"),
                ("carried_over", "Markets that kept their earlier rows"),
            )
        }

    def watch_jobs(self, lanes: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Makes the counters of the jobs of each lane begin at 0."""
        for lane, jobs in lanes:
            for outcome in ("acquired", "busy"):
                self._leases.labels(lane, outcome)
            for job in jobs:
                for outcome in ("complete", "failed"):
                    self._runs.labels(job, outcome)

    def lease_asked(self, lane: str, *, acquired: bool) -> None:
        self._leases.labels(lane, "acquired" if acquired else "busy").inc()

    @contextlib.contextmanager
    def running(self, job: str, waited_s: float) -> Iterator["Run"]:
        """Around one run; its `outcome` is to be set inside."""
        self._lease_wait.labels(job).observe(max(0.0, waited_s))
        run, began = Run(), time.monotonic()
        self._running.labels(job).inc()
        try:
            yield run
        finally:
            self._running.labels(job).dec()
            self._runs.labels(job, run.outcome).inc()
            self._durations.labels(job, run.outcome).observe(time.monotonic() - began)

    def published(self, job: str, result: Mapping[str, Any]) -> None:
        """A run completed; `result` is what its record says."""
        self._last_success.labels(job).set(time.time())
        self._rows.labels(job).inc(result.get("rows", 0))
        for part, gauge in self._last.items():
            if part in result:
                gauge.labels(job).set(result[part])


class Run:
    """How a run ended; lost until somebody says otherwise."""

    outcome = "lost"


@contextlib.asynccontextmanager
async def loop_watched(lag: Histogram) -> AsyncIterator[None]:
    """Inside, the event loop's lag is measured."""
    watch = asyncio.create_task(_watch_loop(lag), name="loop-lag")
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch_loop(lag: Histogram) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        late_s = max(0.0, loop.time() - due)
        lag.observe(late_s)
        if late_s > _LAG_LOGGED_S:
            log.warning("event_loop_blocked", for_s=round(late_s, 2))
