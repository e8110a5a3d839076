"""Jobs that a worker queues by itself: discovery once a day and funding at start, never candles."""

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


async def queue_due_jobs(context: JobContext, stop: asyncio.Event) -> None:
    """Queues due jobs until `stop`; retries while a store is away."""
    async with asyncio.TaskGroup() as tasks:
        # Two tasks, because funding does not need the database and discovery does.
        tasks.create_task(_queue_when_due(context, "discovery", _discovery_due, stop))
        if context.settings.fr_refresh_on_start:
            tasks.create_task(_queue_when_due(context, "funding", _funding_is_due, stop, once=True))


async def _queue_when_due(
    context: JobContext,
    job_id: str,
    is_due: Callable[[JobContext], Awaitable[bool]],
    stop: asyncio.Event,
    *,
    once: bool = False,
) -> None:
    outage = OutageLog(log, "due_jobs_not_checked", "due_jobs_checked_again")
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
    """Whether an exchange was never discovered, or more than a day ago."""
    oldest_ms = context.now_ms() - _DISCOVERY_EVERY_MS
    for exchange in context.settings.exchanges:
        listed_ms = await context.database.markets.discovered_at_ms(exchange)
        if listed_ms is None or listed_ms < oldest_ms:
            return True
    return False


async def _funding_is_due(context: JobContext) -> bool:
    """Whether the stored funding is missing or older than the last full hour, when settlements
    happen."""
    meta = await context.cache.read_meta(GLOBAL_FR)
    return meta is None or meta.as_of_ms < context.now_ms() // HOUR_MS * HOUR_MS
