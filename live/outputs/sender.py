"""BatchSender: an output's bounded queue, and the loop that sends what is in it."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import structlog

from logging_setup import OutageLog, ThrottledLog
from metrics.outputs import OutputMetrics
from texts.foreign import foreign_text
from timing.backoff import Backoff
from timing.clock import Clock, SystemClock

LAST_S: Final = 0.8  # for what is left when the output ends: a process may take a second to stop
_SLOWEST_RETRY_S: Final = 10.0
_LONGEST_REASON: Final = 300

_log = structlog.get_logger(__name__)
T = TypeVar("T")


class StoreAway(Exception):
    """A batch was not taken and can be sent again as it is; the text says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`every_s` between two batches; at most so many items and bytes in a batch, and so many bytes
    in the queue, the batch in hand included."""

    every_s: float
    batch_items: int
    batch_bytes: int
    queue_bytes: int


class BatchSender(Generic[T]):
    """Hands batches of what was put to `send`, in order.

    `send` returns how many of the items were taken, and has told `refuse` of the others. It raises
    StoreAway if none was: the batch waits and is sent again. `gather` is called before each round.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[T]], Awaitable[int]],
        limits: Limits,
        metrics: OutputMetrics | None = None,
        *,
        gather: Callable[[], None] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        self._name = name
        self._send = send
        self._limits = limits
        self._gather = gather
        self._metrics = metrics or OutputMetrics()
        self._metrics.watch(name)
        self._clock = clock or SystemClock()
        self._outage = OutageLog(_log, "output_away", "output_back", clock=self._clock.monotonic_s)
        self._refusals = ThrottledLog(_log, clock=self._clock.monotonic_s)
        self._backoff = Backoff(limits.every_s, _SLOWEST_RETRY_S)
        self._pause_s = limits.every_s
        self._lock = threading.Lock()  # held for moments: points come from any thread
        self._queue: deque[tuple[T, int]] = deque()
        self._bytes = 0  # of the queue and of the batch in hand
        self._in_hand = 0
        self._dropped_before = 0  # the outage
        self._is_away = False
        self.sent = 0
        self.dropped = 0
        self.errors = 0
        self.last_error: str | None = None

    @property
    def queued(self) -> int:
        return len(self._queue) + self._in_hand

    def put(self, item: T, size: int) -> None:
        """Queues an item of so many bytes of memory; the oldest go if there is no room."""
        with self._lock:
            self._queue.append((item, size))
            self._bytes += size
            if self._bytes > self._limits.queue_bytes:
                self._trim()

    def refuse(self, reason: str, count: int = 1) -> None:
        """Counts items that can never be sent."""
        text = foreign_text(reason, _LONGEST_REASON)
        with self._lock:
            self.errors += count
            self.last_error = text
            self._metrics.error(self._name, count)
        self._refusals.warning("output_refused", output=self._name, error=text)

    def status(self) -> dict[str, Any]:
        return {
            "queued": self.queued,
            "sent": self.sent,
            "dropped": self.dropped,
            "errors": self.errors,
            "last_error": self.last_error,
        }

    async def run(self) -> None:
        """Until it is cancelled; what is on its way then is awaited, not sent a second time."""
        sending: asyncio.Task[None] | None = None
        try:
            while True:
                await self._clock.sleep(self._pause_s)
                sending = asyncio.create_task(self._round(), name=f"batches of {self._name}")
                await asyncio.shield(sending)
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LAST_S):
                        if sending is not None and not sending.done():
                            await sending
                        await self._round()
            finally:
                self._end()

    async def _round(self) -> None:
        """Sends all that is there."""
        try:
            self._gather()
            while batch := self._take():
                await self._hand_over(batch)
        except StoreAway as error:
            self._away(str(error))

    async def _hand_over(self, batch: list[tuple[T, int]]) -> None:
        taken = 0
        try:
            taken = await self._send([item for item, _ in batch])
        except (StoreAway, asyncio.CancelledError):
            self._put_back(batch)
            raise
        except Exception as error:  # a fault of ours must not end the output, nor stop it for good
            _log.exception("output_failed", output=self._name)
            self.refuse(f"{type(error).__name__}: {error}", len(batch))
        with self._lock:
            self._in_hand = 0
            self._bytes -= sum(size for _, size in batch)
            self.sent += taken
        self._metrics.sent(self._name, taken)
        self._back()

    def _take(self) -> list[tuple[T, int]]:
        with self._lock:
            batch: list[tuple[T, int]] = []
            size = 0
            while self._queue and len(batch) < self._limits.batch_items:
                size += self._queue[0][1]
                if batch and size > self._limits.batch_bytes:
                    break
                batch.append(self._queue.popleft())
            self._in_hand = len(batch)
        return batch

    def _put_back(self, batch: list[tuple[T, int]]) -> None:
        with self._lock:
            self._queue.extendleft(reversed(batch))
            self._in_hand = 0

    def _trim(self) -> None:
        """Drops the oldest until the queue has its size; the last one stays."""
        dropped = 0
        while self._bytes > self._limits.queue_bytes and len(self._queue) > 1:
            self._bytes -= self._queue.popleft()[1]
            dropped += 1
        if dropped:
            self._count_dropped(dropped)
            if not self._is_away:
                self._refusals.warning("output_queue_full", output=self._name, dropped=self.dropped)

    def _count_dropped(self, count: int) -> None:
        self.dropped += count
        self._metrics.dropped(self._name, count)

    def _away(self, reason: str) -> None:
        if not self._is_away:
            self._is_away = True
            self._dropped_before = self.dropped
        self.last_error = reason
        self._outage.failed(reason, output=self._name, queued=self.queued)
        self._pause_s = self._backoff.pause_s()

    def _back(self) -> None:
        if self._is_away:
            self._is_away = False
            lost = self.dropped - self._dropped_before
            self._outage.recovered(output=self._name, dropped=lost)
        self._backoff.reset()
        self._pause_s = self._limits.every_s

    def _end(self) -> None:
        """What is left is lost with the process, and told."""
        with self._lock:
            left = len(self._queue)
            self._queue.clear()
            self._bytes = 0
            if left:
                self._count_dropped(left)
        if left:
            _log.warning("output_ended_early", output=self._name, dropped=left)
