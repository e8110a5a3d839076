"""The metrics of a worker: job runs, durations and results by job id, and leases by lane."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

from market.timeframes import COLLECTED
from metrics.event_loop import loop_lag, process_registry
from metrics.exchanges import ExchangeMetrics

HOST_METRIC: Final = "perpcache_worker_info"
_JOB_S: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 3600)


class WorkerMetrics:
    """The metrics of one worker, with its exchange requests in `exchange`."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self.loop_lag = loop_lag(self.registry)
        self.exchange = ExchangeMetrics(self.registry)
        self._host = Gauge(
            HOST_METRIC,
            "1 for each worker process, with the name of its address, whether schedules are on, and"
            " the queues that it serves.",
            ("egress", "schedules", "queues"),
            registry=self.registry,
        )
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
            "From the request for a job to the start of its run.",
            ("job_id",),
            buckets=_JOB_S,
            registry=self.registry,
        )
        self._leases = Counter(
            "perpcache_lease_requests_total",
            "Attempts to get a lane's lease: acquired, or busy (another worker has it).",
            ("lane", "outcome"),
            registry=self.registry,
        )
        self._rows = Counter(
            "perpcache_rows_total", "Rows published.", ("job_id",), registry=self.registry
        )
        self._corrections = Counter(
            "perpcache_corrections_total",
            "Markets whose closed candles or open interest the exchange showed otherwise than we"
            " had them.",
            ("timeframe", "part"),
            registry=self.registry,
        )
        for timeframe in COLLECTED:  # so that the first one shows as a rise from 0
            for part in ("klines", "open_interest"):
                self._corrections.labels(timeframe, part)
        self._taken = Gauge(
            "perpcache_live_streamed_markets",
            "Markets of which the last pass took all that they lacked from streams.",
            ("exchange",),
            registry=self.registry,
        )
        self._streams = {
            part: Counter(
                f"perpcache_live_{part}_total", what, ("exchange",), registry=self.registry
            )
            for part, what in (
                ("repairs", "Markets of exchanges with a feed that a pass had to ask for by REST."),
                ("samples", "Markets that a pass asked for to compare their streams with REST."),
                ("compared_candles", "Candles of streams that were compared with those of REST."),
                ("differing_candles", "Candles of streams that REST showed otherwise."),
            )
        }
        self._history_rows = Counter(
            "perpcache_history_rows_total",
            "Rows that recording has added, corrected and removed in the history.",
            registry=self.registry,
        )
        self._history_versions = Counter(
            "perpcache_history_versions_total",
            "Versions of documents that were recorded.",
            registry=self.registry,
        )
        self._history_gaps = Counter(
            "perpcache_history_gaps_total",
            "Gaps: versions that the journal did not have, so that later ones had to fill in.",
            registry=self.registry,
        )
        self._history_faults = Counter(
            "perpcache_history_faults_total",
            "What the daily check has found in the history that must not be: damage.",
            registry=self.registry,
        )
        self._history_lag = Gauge(
            "perpcache_history_lag_seconds",
            "How long after it was made the last version was recorded.",
            registry=self.registry,
        )
        self._endings_dropped = Counter(
            "perpcache_endings_dropped_total",
            "Runs of jobs that data_collections lacks, because the database was away for too long.",
            registry=self.registry,
        )
        self._backfill_requests = Counter(
            "perpcache_backfill_requests_total",
            "Requests that backfills have sent to the exchanges.",
            registry=self.registry,
        )
        self._backfill_rows = Counter(
            "perpcache_backfill_rows_total",
            "Rows that backfills have added and corrected in the history.",
            registry=self.registry,
        )
        self._backfill_failures = Counter(
            "perpcache_backfill_failures_total",
            "Pages that backfills could not get, for a failure of their market.",
            ("exchange",),
            registry=self.registry,
        )
        self._backfill_left = Gauge(
            "perpcache_backfill_left_seconds",
            "How long the backfill that runs here will take; 0 while there is none.",
            registry=self.registry,
        )
        self._holes = Gauge(
            "perpcache_history_holes",
            "Holes of the history, when they were last looked for here.",
            ("exchange", "state"),
            registry=self.registry,
        )
        self._told_holes: set[tuple[str, Any]] = set()
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

    def is_host(self, egress: str, *, schedules: str, queues: Iterable[str]) -> None:
        """Tells of this process what the heartbeats of workers tell."""
        self._host.labels(egress, schedules, " ".join(queues)).set(1)

    def watch_jobs(self, lanes: Iterable[tuple[str, Sequence[str]]]) -> None:
        """Creates the counters of each lane and its jobs at 0."""
        for lane, jobs in lanes:
            for outcome in ("acquired", "busy"):
                self._leases.labels(lane, outcome)
            for job in jobs:
                for outcome in ("complete", "failed"):
                    self._runs.labels(job, outcome)

    def watch_streams(self, exchanges: Iterable[str]) -> None:
        """Creates the counters of these exchanges' streams at 0."""
        for exchange in exchanges:
            self._taken.labels(exchange)
            for counter in self._streams.values():
                counter.labels(exchange)

    def watch_history(self, exchanges: Iterable[str]) -> None:
        """Creates what the history tells of these exchanges at 0."""
        for exchange in exchanges:
            self._backfill_failures.labels(exchange)
            self._holes.labels(exchange, "not_asked")

    def lease_requested(self, lane: str, *, acquired: bool) -> None:
        self._leases.labels(lane, "acquired" if acquired else "busy").inc()

    @contextlib.contextmanager
    def running(self, job: str, waited_s: float) -> Iterator["JobTimer"]:
        """Measures one run; set the timer's `outcome` inside this context."""
        self._lease_wait.labels(job).observe(max(0.0, waited_s))
        timer = JobTimer()
        self._running.labels(job).inc()
        try:
            yield timer
        finally:
            self._running.labels(job).dec()
            self._runs.labels(job, timer.outcome).inc()
            self._durations.labels(job, timer.outcome).observe(timer.seconds())

    def corrected(self, timeframe: str, part: str, markets: int = 1) -> None:
        """Counts markets whose known rows turned out to be others."""
        self._corrections.labels(timeframe, part).inc(markets)

    def streamed(self, exchange: str, *, taken: int, repaired: int, sampled: int) -> None:
        """Counts what a pass took from the streams of an exchange, in markets."""
        self._taken.labels(exchange).set(taken)
        self._streams["repairs"].labels(exchange).inc(repaired)
        self._streams["samples"].labels(exchange).inc(sampled)

    def stream_compared(self, exchange: str, candles: int) -> None:
        """Counts candles of streams that were compared with REST."""
        self._streams["compared_candles"].labels(exchange).inc(candles)

    def stream_differs(self, exchange: str) -> None:
        """Counts a candle of a stream that REST shows otherwise."""
        self._streams["differing_candles"].labels(exchange).inc()

    def recorded(self, rows: int, lag_s: float) -> None:
        """Counts a version that was recorded so long after it was made."""
        self._history_versions.inc()
        self._history_rows.inc(rows)
        self._history_lag.set(max(0.0, lag_s))

    def history_gap(self) -> None:
        """Counts a gap in what was recorded."""
        self._history_gaps.inc()

    def history_checked(self, faults: int) -> None:
        """Counts what a check of the history has found."""
        self._history_faults.inc(faults)

    def ending_dropped(self, runs: int) -> None:
        """Counts runs whose ends will not be written."""
        self._endings_dropped.inc(runs)

    def backfilled(self, *, requests: int, rows: int, seconds_left: float) -> None:
        """Counts what a backfill has sent and stored since it last told."""
        self._backfill_requests.inc(requests)
        self._backfill_rows.inc(rows)
        self._backfill_left.set(seconds_left)

    def backfill_failed(self, exchange: str) -> None:
        """Counts a page that a backfill could not get."""
        self._backfill_failures.labels(exchange).inc()

    def holes(self, counts: Mapping[tuple[str, Any], int]) -> None:
        """Tells how many holes the history has, by exchange and state."""
        self._told_holes.update(counts)
        for exchange, state in self._told_holes:  # those that are gone are 0
            self._holes.labels(exchange, state).set(counts.get((exchange, state), 0))

    def published(self, job: str, result: Mapping[str, Any]) -> None:
        """Counts a complete run; `result` is its record's."""
        self._last_success.labels(job).set(time.time())
        self._rows.labels(job).inc(result.get("rows", 0))
        for part, gauge in self._last.items():
            if part in result:
                gauge.labels(job).set(result[part])


class JobTimer:
    """The duration and the outcome of one run; the outcome is 'lost' until it is set."""

    def __init__(self) -> None:
        self.outcome = "lost"
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._began
