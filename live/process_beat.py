"""ProcessBeat: the heartbeat of a live process in the hot store, with its metrics for a scrape."""

import asyncio
from typing import Final

import structlog

from logging_setup import OutageLog
from metrics.exposition import pack
from metrics.live import LiveMetrics
from stores.hot.beats import forget_live, live_beat, live_beat_times
from stores.hot.store import HotStore, StoreUnavailable
from timing.backoff import Backoff, stop_or

_FIRST_RETRY_S: Final = 0.5
_SLOWEST_RETRY_S: Final = 5.0
_LAST_S: Final = 0.5  # of a process that stops

log = structlog.get_logger(__name__)


class ProcessBeat:
    """Tells that this process is alive. `holder`: its name, as its leases have it."""

    def __init__(self, store: HotStore, holder: str, metrics: LiveMetrics) -> None:
        self._store = store
        self._holder = holder
        self._metrics = metrics

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, and takes it back then. Failures of the store are never raised."""
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(log, "heartbeat_failed", "heartbeat_restored")
        while not stop.is_set():
            pause_s = live_beat_times(self._store).every_s
            try:
                await live_beat(self._store, self._holder, pack(self._metrics.registry))
                outage.recovered()
                backoff.reset()
            except StoreUnavailable as error:
                outage.failed(error)
                pause_s = backoff.pause_s()
            await stop_or(stop, pause_s)
        await self._end()

    async def _end(self) -> None:
        try:
            async with asyncio.timeout(_LAST_S):
                await forget_live(self._store, self._holder)
        except (StoreUnavailable, TimeoutError):
            pass  # it expires
