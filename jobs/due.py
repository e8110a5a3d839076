"""What a worker asks for by itself: markets once a day, funding at its start, never candles."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from database import DatabaseUnavailable
from documents.names import GLOBAL_FR
from jobs.context import JobContext
from logging_setup import OutageLog
from market.timeframes import DAY_MS, HOUR_MS
from stores.hot.store import StoreUnavailable
from timing.backoff import Backoff, stop_or

_LOOK_EVERY_S: Final = 300.0
_FIRST_RETRY_S: Final = 2.0
_SLOWEST_RETRY_S: Final = 10.0
_DISCOVERY_EVERY_MS: Final = DAY_MS

log = structlog.get_logger(__name__)


async def keep_asking(context: JobContext, stop: asyncio.Event) -> None:
    """Queues what is due, now and while the worker runs; waits out stores that are away."""
    async with asyncio.TaskGroup() as asking:
        # Apart, because funding goes on with the markets that are known while the database is away.
        asking.create_task(_keep_asking(context, "discovery", _discovery_due, stop))
        if context.settings.fr_refresh_on_start:
            asking.create_task(_keep_asking(context, "funding", _funding_is_old, stop, once=True))


async def _keep_asking(
    context: JobContext,
    job_id: str,
    is_due: Callable[[JobContext], Awaitable[bool]],
    stop: asyncio.Event,
    *,
    once: bool = False,
) -> None:
    outage = OutageLog(log, "cannot_look_what_is_due", "looking_again_what_is_due")
    backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
    while not stop.is_set():
        try:
            if await is_due(context):
                await context.queue.request(job_id)
            outage.recovered(job=job_id)
            if once:
                return
            backoff.reset()
            pause_s = _LOOK_EVERY_S
        except (DatabaseUnavailable, StoreUnavailable) as error:
            outage.failed(error, job=job_id)
            pause_s = backoff.pause_s()
        await stop_or(stop, pause_s)


async def _discovery_due(context: JobContext) -> bool:
    """Whether an exchange's markets were never listed, or more than a day ago."""
    oldest_ms = context.now_ms() - _DISCOVERY_EVERY_MS
    for exchange in context.settings.exchanges:
        listed_ms = await context.database.markets.discovered_at_ms(exchange)
        if listed_ms is None or listed_ms < oldest_ms:
            return True
    return False


async def _funding_is_old(context: JobContext) -> bool:
    """Whether there is no funding, or a settlement may have come since: they fall on full hours."""
    meta = await context.cache.read_meta(GLOBAL_FR)
    return meta is None or meta.as_of_ms < context.now_ms() // HOUR_MS * HOUR_MS
