"""The metrics of an API process: HTTP requests, their latencies, and waiting long polls."""

import contextlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from metrics.event_loop import loop_lag, process_registry
from metrics.facade import FacadeMetrics

_HTTP_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_HTTP_BOUNDS: Final = (*map(floatToGoString, _HTTP_S), "+Inf")
_METHODS: Final = frozenset(("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"))
_TOKENS: Final = ("API_TOKEN", "CRON_SECRET", "READ_TOKEN")  # the settings that name tokens
OTHER: Final = "other"  # label for unknown paths and methods


class _Answers(Collector):
    """HTTP answers by method, route and status.

    Every request passes here on one event loop, so these are plain numbers: they take a tenth of
    the time of prometheus_client's locked ones.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, int], _AnswerCounts] = {}

    def count(self, method: str, route: str, status: int, duration_s: float | None) -> None:
        counts = self._answers.get((method, route, status))
        if counts is None:
            method = method if method in _METHODS else OTHER
            counts = self._answers.setdefault((method, route, status), _AnswerCounts())
        counts.answers += 1
        if duration_s is not None:
            counts.seconds += duration_s
            counts.buckets[bisect_left(_HTTP_S, duration_s)] += 1

    def collect(self) -> Iterable[Metric]:
        labels = ("method", "route", "status")
        requests = CounterMetricFamily(
            "perpcache_http_requests", "Requests answered, by route and status.", labels=labels
        )
        durations = HistogramMetricFamily(
            "perpcache_http_request_duration_seconds",
            "From a request's arrival to the head of its answer; without long polls.",
            labels=labels,
        )
        for (method, route, status), counts in self._answers.items():
            values = (method, route, str(status))
            requests.add_metric(values, counts.answers)
            buckets = zip(_HTTP_BOUNDS, accumulate(counts.buckets), strict=True)
            durations.add_metric(values, list(buckets), counts.seconds)
        return (requests, durations)


class _AnswerCounts:
    """The number of answers, and their durations by the buckets of _HTTP_S."""

    __slots__ = ("answers", "buckets", "seconds")

    def __init__(self) -> None:
        self.answers = 0
        self.seconds = 0.0
        self.buckets = [0] * len(_HTTP_BOUNDS)


class ApiMetrics:
    """The metrics of the API process named `process`.

    `group` names the API processes behind one listener if there are several: they share their
    metrics in the hot store, so that any of them can answer a scrape for all.
    """

    def __init__(self, process: str = "api-1", *, group: str | None = None) -> None:
        self.process = process
        self.group = group
        self.registry = process_registry()
        self.loop_lag = loop_lag(self.registry)
        self._http = _Answers()
        self.registry.register(self._http)
        self._facade: FacadeMetrics | None = None
        self._waiting = Gauge(
            "perpcache_http_waiting_requests",
            "Long polls that wait for a newer document.",
            registry=self.registry,
        )
        self._wrong_tokens = Counter(
            "perpcache_http_wrong_tokens",
            "Requests with a wrong bearer token, by the setting that names the right one.",
            ["setting"],
            registry=self.registry,
        )
        for setting in _TOKENS:  # counted from zero, so that the first one shows as an increase
            self._wrong_tokens.labels(setting)

    def facade(self) -> FacadeMetrics:
        """The counters of requests to the exchanges' own addresses, which are there from now on."""
        if self._facade is None:
            self._facade = FacadeMetrics(self.registry)
        return self._facade

    def answered(self, method: str, route: str, status: int, duration_s: float | None) -> None:
        """Counts an answer. `route` is a template; `duration_s` is None for a long poll."""
        self._http.count(method, route, status, duration_s)

    def wrong_token(self, setting: str) -> None:
        """Counts a request with a wrong token where the one of `setting` is needed."""
        self._wrong_tokens.labels(setting).inc()

    def add_bytes_in_flight(self, read: Callable[[], float]) -> None:
        """Adds the gauge of the bytes that `read` returns."""
        gauge = Gauge(
            "perpcache_http_bytes_in_flight",
            "Bytes of answers that clients have not taken yet, of MAX_BYTES_IN_FLIGHT.",
            registry=self.registry,
        )
        gauge.set_function(read)

    def add_listeners(self, read: Callable[[], float]) -> None:
        """Adds the gauge of the streams of events that `read` returns."""
        gauge = Gauge(
            "perpcache_http_listeners",
            "Open streams of events.",
            registry=self.registry,
        )
        gauge.set_function(read)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts a long poll as waiting inside this context."""
        self._waiting.inc()
        try:
            yield
        finally:
            self._waiting.dec()
