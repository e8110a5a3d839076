"""Records on their way into the database, for those who cannot wait for it: some at a time."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

import structlog

from database import DatabaseUnavailable
from logging_setup import OutageLog
from providers.collecting.keeper import Keeper
from providers.records import Record
from timing.backoff import stop_or, stop_or_done

_MOST_WAITING: Final = 10_000  # while the database is away; the oldest are left out then
_AT_ONCE: Final = 500
_PAUSE_S: Final = 1.0  # in which more come, which are stored together
_SLOW_S: Final = 10.0  # while the database is away
_LAST_S: Final = 0.7  # when the process ends

log = structlog.get_logger(__name__)


class KeepLog:
    """`note` takes records and never waits; `run` stores them until it is stopped."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._waiting: deque[Record] = deque(maxlen=_MOST_WAITING)
        self._came = asyncio.Event()
        self._outage = OutageLog(log, "provider_records_wait", "provider_records_kept_again")
        self.dropped = 0

    def note(self, records: Sequence[Record]) -> None:
        room = _MOST_WAITING - len(self._waiting)
        self.dropped += max(0, len(records) - room)
        self._waiting.extend(records)
        self._came.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Stores what was noted until `stop`, and then what is left, if that is quick."""
        while not await stop_or_done(stop, self._came.wait()):
            stored = await self.flush()
            if await stop_or(stop, _PAUSE_S if stored else _SLOW_S):
                break
        try:
            async with asyncio.timeout(_LAST_S):
                await self.flush()
        except TimeoutError:
            log.warning("provider_records_lost", records=len(self._waiting))

    async def flush(self) -> bool:
        """Stores what waits; whether all of it is stored. While the database is away it stays."""
        self._came.clear()
        while self._waiting:
            some = [self._waiting[at] for at in range(min(_AT_ONCE, len(self._waiting)))]
            try:
                await self._keeper.keep(some)
            except DatabaseUnavailable as error:
                self._outage.failed(error, waiting=len(self._waiting), dropped=self.dropped)
                self._came.set()
                return False
            for each in some:  # meanwhile the oldest may have been left out
                if self._waiting and self._waiting[0] is each:
                    self._waiting.popleft()
        self._outage.recovered()
        return True
