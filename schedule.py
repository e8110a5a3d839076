"""What a worker asks for by itself: markets once a day, and funding when it starts."""

import asyncio
import contextlib
from typing import Final

import structlog

from database import DatabaseUnavailable
from documents import GLOBAL_FR
from hot_store.redis_client import StoreUnavailable
from jobs import Desk
from market_data import DAY_MS, HOUR_MS

_LOOK_EVERY_S: Final = 300.0
_RETRY_S: Final = 2.0
_DISCOVERY_EVERY_MS: Final = DAY_MS

log = structlog.get_logger(__name__)


async def keep_asking(desk: Desk, stop: asyncio.Event) -> None:
    """Queues what is due, now and while the worker runs; waits out stores that are away."""
    funding_due = desk.settings.fr_refresh_on_start
    while not stop.is_set():
        pause_s = _LOOK_EVERY_S
        try:
            if await _discovery_due(desk):
                await desk.queue.request("discovery")
            if funding_due and await _funding_is_old(desk):
                await desk.queue.request("funding")
            funding_due = False
        except (DatabaseUnavailable, StoreUnavailable) as error:
            log.warning("cannot_look_what_is_due", error=str(error))
            pause_s = _RETRY_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause_s)


async def _discovery_due(desk: Desk) -> bool:
    """Whether an exchange's markets were never listed, or more than a day ago."""
    oldest_ms = desk.now_ms() - _DISCOVERY_EVERY_MS
    for exchange in desk.settings.exchanges:
        listed_ms = await desk.database.discovered_at_ms(exchange)
        if listed_ms is None or listed_ms < oldest_ms:
            return True
    return False


async def _funding_is_old(desk: Desk) -> bool:
    """Whether there is no funding, or a settlement may have come since: they fall on full hours."""
    meta = await desk.cache.read_meta(GLOBAL_FR)
    return meta is None or meta.as_of_ms < desk.now_ms() // HOUR_MS * HOUR_MS
