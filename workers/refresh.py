"""Refresh schedules while the database is away: those seen last go on asking for their jobs.

They are kept in the hot store, for processes that start meanwhile. As soon as the database answers,
its rows rule again; they make up for the first instant that they missed, and where documents are
new enough by then, that asks for nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from job_queue.kinds import job_definition
from logging_setup import ThrottledLog
from stores.cold.workers.rows import WorkerRow
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import stop_or_done
from timing.clock import now_ms as this_machines_ms
from workers.timetable import Timetable, WrongTimetable, timetable_of

KEY: Final = "worker:refresh"
_STORED_AGAIN_MS: Final = 3_600_000  # the store may have lost it
_KEPT_S: Final = 30 * 86_400
_ASKED_S: Final = 3600  # for which a store knows who asks
_LONGEST_LATE_MS: Final = 86_400_000
_LOOK_EVERY_S: Final = 30.0  # what the store has may be newer
_RETRY_S: Final = 1.0
_LONGEST: Final = 1_000_000  # bytes
_log = ThrottledLog(structlog.get_logger(__name__))

Ask = Callable[[str, int | None], Awaitable[object]]  # workers.asking.Asker.ask


@dataclass(frozen=True, slots=True)
class RefreshSchedule:
    """A worker that asks for jobs, and when."""

    name: str
    timetable: Timetable
    jobs: tuple[str, ...]


class RefreshSchedules:
    """Asks for what is due while the database is away, and never else.

    `ask`: asks for a job whose documents are not older than a time (UTC ms). Of several processes
    one asks. `now_ms`: this machine's time.
    """

    def __init__(
        self, store: HotStore, ask: Ask, *, now_ms: Callable[[], int] = this_machines_ms
    ) -> None:
        self._store = store
        self._ask = ask
        self._now_ms = now_ms
        self._seen: bytes | None = None
        self._stored: tuple[bytes, int] | None = None
        self._asked_until_ms = now_ms()
        self._away = asyncio.Event()
        self._back = asyncio.Event()

    async def seen(self, rows: Collection[WorkerRow]) -> None:
        """Notes the rows as they are now, in the hot store if they have changed."""
        self._seen = orjson.dumps([_told(row) for row in rows if row.enabled and row.refreshes])
        now_ms = self._now_ms()
        if self._stored is not None:
            text, at_ms = self._stored
            if text == self._seen and 0 <= now_ms - at_ms < _STORED_AGAIN_MS:
                return
        with contextlib.suppress(StoreUnavailable):  # it is stored the next time
            await self._store.execute("SET", KEY, self._seen, "EX", _KEPT_S)
            self._stored = self._seen, now_ms

    @property
    def is_away(self) -> bool:
        """Whether the database did not answer when it was last asked."""
        return self._away.is_set()

    def away(self) -> None:
        """The database does not answer."""
        self._back.clear()
        self._away.set()

    def back(self) -> None:
        """The database has answered: what was due before is its business."""
        self._asked_until_ms = self._now_ms()
        self._away.clear()
        self._back.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Asks for what is due whenever the database is away, until `stop` is set."""
        while not stop.is_set():
            if await stop_or_done(stop, self._away.wait()):
                return
            wait_s = await self.ask_due()
            await stop_or_done(stop, self._until_back(wait_s))

    async def ask_due(self) -> float:
        """Asks for what is due now. Returns the seconds until it should be called again."""
        now_ms = self._now_ms()
        schedules = await self._schedules()
        from_ms = max(self._asked_until_ms, now_ms - _LONGEST_LATE_MS)
        try:
            for schedule in schedules:
                slot_ms = schedule.timetable.latest_in(from_ms, now_ms)
                if slot_ms is not None:
                    await self._ask_for(schedule, slot_ms)
        except StoreUnavailable as error:
            _log.warning("refresh_not_asked", reason=str(error))
            return _RETRY_S
        if self.is_away:
            self._asked_until_ms = max(self._asked_until_ms, now_ms)
        following = [schedule.timetable.next_after(now_ms) for schedule in schedules]
        next_ms = min((moment_ms for moment_ms in following if moment_ms), default=None)
        if next_ms is None:
            return _LOOK_EVERY_S
        return min(max(next_ms - self._now_ms(), 1) / 1000, _LOOK_EVERY_S)

    async def _ask_for(self, schedule: RefreshSchedule, slot_ms: int) -> None:
        """Asks for its jobs, unless another process does."""
        key = f"{KEY}:{schedule.name}:{slot_ms}"
        if await self._store.execute("SET", key, "asked", "NX", "EX", _ASKED_S) is None:
            return
        try:
            for job_id in schedule.jobs:
                await self._ask(job_id, _not_older_than_ms(job_id, schedule, slot_ms))
        except ValueError as error:  # a job that this release does not know
            _log.warning("refresh_not_asked", worker=schedule.name, reason=str(error))
        except StoreUnavailable:
            with contextlib.suppress(StoreUnavailable):
                await self._store.execute("DEL", key)
            raise
        _log.info("refresh_asked_without_database", worker=schedule.name, slot=slot_ms)

    async def _schedules(self) -> list[RefreshSchedule]:
        text = self._seen
        with contextlib.suppress(StoreUnavailable):
            found = await self._store.execute("GET", KEY)
            text = found if found is not None else text
        return [] if text is None else _read(text)

    async def _until_back(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._back.wait()


def _not_older_than_ms(job_id: str, schedule: RefreshSchedule, slot_ms: int) -> int:
    """The instant that the slot stands for, or the last close of the job's timeframe before it: a
    document in which no candle has closed since is fresh. Raises ValueError for an unknown id."""
    instant_ms = slot_ms - schedule.timetable.offset_s * 1000
    timeframe = job_definition(job_id).timeframe
    return instant_ms if timeframe is None else timeframe.floor(instant_ms)


def _told(row: WorkerRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "cron": row.cron,
        "every_s": row.every_s,
        "offset_s": row.offset_s,
        "tz": row.tz,
        "jobs": list(row.refreshes),
    }


def _read(text: bytes) -> list[RefreshSchedule]:
    """The schedules of a stored text; what cannot be read, because others wrote it, is left out."""
    found = []
    try:
        entries = orjson.loads(text[:_LONGEST])
        for entry in entries:
            timetable = timetable_of(
                entry["cron"], entry["every_s"], entry["offset_s"], entry["tz"]
            )
            found.append(RefreshSchedule(str(entry["name"]), timetable, _texts(entry["jobs"])))
    except (
        orjson.JSONDecodeError,
        WrongTimetable,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        _log.warning("refresh_schedules_unreadable", reason=type(error).__name__)
    return found


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
