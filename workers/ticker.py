"""Ticker: fires the schedules that are due. Any number may run; a row's lock lets one of them.

A row that is due is locked, its run is added, given to the engine, and the time of its next run is
set, in one transaction. The primary key of runs holds that no slot has two. The database's clock
decides what is due, so that the clocks of hosts need not agree.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeVar

import structlog

from database import Database, DatabaseUnavailable
from logging_setup import ThrottledLog
from stores.cold.pool import Connection
from stores.cold.workers.partitions import make_ahead
from stores.cold.workers.rows import (
    WorkerRow,
    earliest,
    lock_due,
    lock_rows,
    now_of,
    rows_of,
    set_next_run,
)
from timing.backoff import Backoff, stop_or_done
from workers.changes import Changes
from workers.effective import next_run_of
from workers.firing import Fired, fire
from workers.refresh import RefreshSchedules
from workers.seam import Enqueue
from workers.timetable import WrongTimetable

# What is due is known, and changes are heard: looks find what a clock that was set has changed.
_LOOK_EVERY_S: Final = 30.0
_LOOK_UNHEARD_S: Final = 0.5  # while changes are not heard
_LOCKED_S: Final = 0.05  # until a row is looked at again that another ticker has in hand
_WRONG_S: Final = 60.0  # until a row is looked at again that cannot be fired
_AHEAD_EVERY_S: Final = 6 * 3600.0  # partitions
_DEADLINE_S: Final = 6.0  # of one transaction, longer than the server lets one stand still
_FIRST_S: Final = 0.2
_SLOWEST_S: Final = 2.0
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)
_throttled = ThrottledLog(_log)


class Ticker:
    """Fires the workers of these names, which this process knows.

    `refreshes` go on while the database is away. `now_ms` takes the place of the database's clock.
    """

    def __init__(
        self,
        database: Database,
        names: Collection[str],
        enqueue: Enqueue,
        changes: Changes,
        *,
        refreshes: RefreshSchedules | None = None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._names = sorted(names)
        self._enqueue = enqueue
        self._changes = changes
        self._refreshes = refreshes
        self._now_ms = now_ms
        self._woken = asyncio.Event()
        self._backoff = Backoff(_FIRST_S, _SLOWEST_S)
        self._look_at = -1.0
        self._make_at = -1.0
        self._wrong: dict[str, float] = {}  # rows that cannot be fired, and until when

    async def run(self, stop: asyncio.Event) -> None:
        """Fires what is due until `stop` is set. It goes on after outages of the database."""
        self._changes.on("worker", self._wake)
        async with asyncio.TaskGroup() as group:
            if self._refreshes is not None:
                group.create_task(self._refreshes.run(stop))
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self._woken.clear()
            wait_s = await self.round()
            await stop_or_done(stop, self._pause(wait_s))

    async def round(self) -> float:
        """Fires what is due, or lets refreshes go on if the database is away. Returns the seconds
        until it should be called again."""
        try:
            wait_s = await self._round()
        except (DatabaseUnavailable, TimeoutError) as error:
            reason = str(error) or "the database did not answer in time"
            _throttled.warning("ticker_waits_for_database", reason=reason)
            if self._refreshes is not None:
                self._refreshes.away()
            return self._backoff.pause_s()
        self._backoff.reset()
        if self._refreshes is not None:
            self._refreshes.back()
        return wait_s

    async def _round(self) -> float:
        """The work of a round. Raises DatabaseUnavailable, TimeoutError."""
        if time.monotonic() >= self._look_at:
            await self._look()
        await self.tick()
        next_ms, now_ms = await self._within(
            lambda connection: earliest(connection, self._known(), self._time())
        )
        longest_s = _LOOK_EVERY_S if self._changes.is_heard else _LOOK_UNHEARD_S
        if next_ms is None:
            return longest_s
        return min(max((next_ms - now_ms) / 1000, _LOCKED_S), longest_s)

    async def tick(self) -> list[Fired]:
        """Fires all that is due now, one after another. Raises DatabaseUnavailable."""
        fired = []
        while (found := await self._fire_one()) is not None:
            fired.append(found)
        return fired

    async def _fire_one(self) -> Fired | None:
        due: WorkerRow | None = None

        async def work(connection: Connection) -> Fired | None:
            nonlocal due
            due = None
            found = await lock_due(connection, self._known(), self._time())
            if found is None:
                return None
            due, now_ms = found
            return await fire(connection, due, now_ms, self._enqueue)

        try:
            return await self._within(work)
        except WrongTimetable as error:
            assert due is not None  # noqa: S101 - it was being fired
            self._wrong[due.name] = time.monotonic() + _WRONG_S
            _throttled.warning("worker_cannot_fire", worker=due.name, reason=str(error))
            return Fired(due.name, None, None)

    async def _look(self) -> None:
        """Looks at all rows: where the clock has gone back, a next run may be too far away, and is
        set anew. Slots that have had their run get no other."""
        if time.monotonic() >= self._make_at:
            await self._within(self._make_partitions)
            self._make_at = time.monotonic() + _AHEAD_EVERY_S
        rows, now_ms = await self._within(self._read)
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        late = [row.name for row in rows if _is_set_wrong(row, now_ms)]
        if late:
            await self._within(lambda connection: self._set_anew(connection, late))
        if self._refreshes is not None:
            await self._refreshes.seen(rows)

    async def _read(self, connection: Connection) -> tuple[list[WorkerRow], int]:
        names = set(self._names)
        rows = [row for row in await rows_of(connection) if row.name in names]
        return rows, self._time() or await now_of(connection)

    async def _set_anew(self, connection: Connection, names: list[str]) -> None:
        rows = await lock_rows(connection, names)
        now_ms = self._time() or await now_of(connection)
        for row in rows:
            if _is_set_wrong(row, now_ms):
                await set_next_run(connection, row.name, next_run_of(row, now_ms))
                _log.info("worker_next_run_set_anew", worker=row.name, was=row.next_run_ms)

    async def _make_partitions(self, connection: Connection) -> None:
        await make_ahead(connection, self._time() or await now_of(connection))

    async def _within(self, work: Callable[[Connection], Awaitable[_T]]) -> _T:
        async with asyncio.timeout(_DEADLINE_S):
            return await self._database.workers.in_transaction(work)

    def _known(self) -> list[str]:
        """The names, but for those of rows that cannot be fired."""
        now = time.monotonic()
        self._wrong = {name: until for name, until in self._wrong.items() if until > now}
        return [name for name in self._names if name not in self._wrong]

    def _time(self) -> int | None:
        return None if self._now_ms is None else self._now_ms()

    def _wake(self) -> None:
        self._look_at = -1.0
        self._woken.set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()


def _is_set_wrong(row: WorkerRow, now_ms: int) -> bool:
    """Whether a row fires sooner than it says, or should fire and does not say when."""
    try:
        next_ms = next_run_of(row, now_ms)
    except WrongTimetable:
        return False  # told when it is due
    return next_ms is not None and (row.next_run_ms is None or next_ms < row.next_run_ms)
