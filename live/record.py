"""Record: what a collector remembers of itself, and the status dictionaries made of it."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any, Final

from live.data_types import CollectorStatus
from live.health import Clocks, Judged, issues_of
from metrics.collectors import CollectorMetrics, ErrorType
from texts.foreign import foreign_text
from timing.clock import Clock

_LONGEST_ERROR: Final = 500


class Record:
    """The counts, clocks and last error of one collector."""

    def __init__(
        self,
        exchange: str,
        clock: Clock,
        *,
        max_silence_s: float,
        max_attempts: int,
        metrics: CollectorMetrics | None,
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self.clocks = Clocks()
        self.status = CollectorStatus.STOPPED
        self.should_be_running = False
        self.max_silence_s = max_silence_s
        self.max_attempts = max_attempts
        self.metrics = metrics
        self.received = 0
        self.processed = 0
        self.restarts = 0
        self.attempts = 0
        self.errors: Counter[str] = Counter()
        self.last_error: str | None = None
        self._connected_at: datetime | None = None
        self._restarted_at: datetime | None = None

    def came_round(self) -> float:
        """The message loop came round; the monotonic time."""
        now = self.clock.monotonic_s()
        self.clocks.loop = now
        return now

    def had_inbound(self) -> None:
        """Bytes have arrived."""
        self.clocks.inbound = self.clock.monotonic_s()

    def was_read(self) -> None:
        """A message had data in it."""
        self.clocks.data = self.clock.monotonic_s()

    def had_data(self, symbol: str, kind: str) -> None:
        """A data point goes to the callbacks."""
        self.processed += 1
        self.was_read()
        if self.status is CollectorStatus.UNHEALTHY:
            self.status = CollectorStatus.RUNNING
        if self.metrics is not None:
            self.metrics.message(self.exchange, symbol, kind)

    def connected(self) -> None:
        self.clocks.connected = self.clock.monotonic_s()
        self._connected_at = self._now()
        self.status = CollectorStatus.RUNNING
        if self.metrics is not None:
            self.metrics.connected(self.exchange, self, self.uptime_s)

    def disconnected(self) -> None:
        self.settle()
        self.clocks.connected = None
        self._connected_at = None
        if self.metrics is not None:
            self.metrics.disconnected(self.exchange, self)

    def restarted(self) -> None:
        self.restarts += 1
        self._restarted_at = self._now()

    def failed(self, kind: ErrorType, text: str) -> str:
        """Counts an error; returns its text as it is kept: on one line, cut, with the exchange."""
        self.last_error = foreign_text(f"{self.exchange}: {text}", _LONGEST_ERROR)
        self.errors[kind.value] += 1
        if self.metrics is not None:
            self.metrics.error(self.exchange, kind)
        return self.last_error

    def settle(self) -> None:
        """A connection that has proven itself makes earlier attempts forgotten."""
        if self.attempts and self.clocks.proven():
            self.attempts = 0

    def is_connected(self) -> bool:
        return self.clocks.connected is not None

    def uptime_s(self) -> float:
        """Since the connection was made; 0 without one."""
        if self.clocks.connected is None:
            return 0.0
        return self.clock.monotonic_s() - self.clocks.connected

    def health(self) -> dict[str, Any]:
        """The `health` part of the status."""
        now = self.clock.monotonic_s()
        heartbeat, data = self.clocks.heartbeat(), self.clocks.data
        return {
            "time_since_heartbeat": None if heartbeat is None else now - heartbeat,
            "time_since_data": None if data is None else now - data,
            "max_silence_duration": self.max_silence_s,
        }

    def statistics(self) -> dict[str, Any]:
        """The `statistics` part of the status. Times are ISO 8601 texts, in UTC, or None."""
        self.settle()
        return {
            # A loop that reads by other means than _process_message is counted by its points.
            "messages_received": max(self.received, self.processed),
            "messages_processed": self.processed,
            "errors": self.errors.total(),
            "restarts": self.restarts,
            "uptime_seconds": self.uptime_s(),
            "reconnect_attempts": self.attempts,
            "last_message_time": self._wall(self.clocks.data),
            "connection_uptime": _iso(self._connected_at),
            "last_error": self.last_error,
            "last_restart_time": _iso(self._restarted_at),
            "errors_by_type": dict(self.errors),
        }

    def health_status(self, is_running: bool) -> dict[str, Any]:
        """The dictionary of `get_health_status`."""
        self.settle()
        issues = issues_of(
            Judged(
                status=self.status,
                should_be_running=self.should_be_running,
                is_running=is_running,
                clocks=self.clocks,
                now=self.clock.monotonic_s(),
                max_silence_s=self.max_silence_s,
                attempts=self.attempts,
                max_attempts=self.max_attempts,
                last_error=self.last_error,
            )
        )
        return {
            "is_healthy": not issues,
            "issues": issues,
            "status": self.status.value,
            "last_heartbeat": self._wall(self.clocks.heartbeat()),
            "last_data_received": self._wall(self.clocks.data),
            "should_be_running": self.should_be_running,
            "is_running": is_running,
        }

    def _wall(self, at: float | None) -> str | None:
        """A moment of the monotonic clock as a text of the wall clock."""
        if at is None:
            return None
        ago_ms = 1000 * (self.clock.monotonic_s() - at)
        return _iso(datetime.fromtimestamp((self.clock.wall_ms() - ago_ms) / 1000, UTC))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.wall_ms() / 1000, UTC)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")
