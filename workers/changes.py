"""Changes: hears, on one connection of this process, when rows of workers are changed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import structlog

from database import Database, DatabaseUnavailable
from logging_setup import ThrottledLog
from stores.cold.workers.notices import CHANNEL, What
from timing.backoff import Backoff, stop_or

_FIRST_S: Final = 0.1
_SLOWEST_S: Final = 2.0
_log = ThrottledLog(structlog.get_logger(__name__))


class Changes:
    """Wakes those who read the rows.

    `is_heard` tells whether changes are heard at the moment. While they are not, such as behind a
    transaction pooler, readers have to look from time to time.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wakes: dict[str, list[Callable[[], None]]] = defaultdict(list)
        self.is_heard = False

    def on(self, what: What, wake: Callable[[], None]) -> None:
        """Calls `wake` after each change of this table, and where one may not have been heard."""
        self._wakes[what].append(wake)

    async def run(self, stop: asyncio.Event) -> None:
        """Listens until `stop` is set, again and again if the database is away."""
        backoff = Backoff(_FIRST_S, _SLOWEST_S)
        while not stop.is_set():
            try:
                async with self._database.listening(CHANNEL, self._heard) as lost:
                    self.is_heard = True
                    backoff.reset()
                    self._wake_all()
                    await _until_either(stop, lost)
            except DatabaseUnavailable as error:
                _log.warning("worker_changes_not_heard", reason=str(error))
            finally:
                self.is_heard = False
            self._wake_all()
            await stop_or(stop, backoff.pause_s())

    def _heard(self, what: str) -> None:
        for wake in self._wakes.get(what, ()):
            wake()

    def _wake_all(self) -> None:
        for what in self._wakes:
            self._heard(what)


async def _until_either(stop: asyncio.Event, lost: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (stop, lost)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waits)
