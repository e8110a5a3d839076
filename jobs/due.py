"""Jobs that a worker queues by itself, by the state that it finds: lists, funding at start, record.

A list of markets that was never read is asked for, one that could not be read again with growing
pauses; one that was not believed, and one that the database failed to take, after a minute. The
times are in the stores, so a restart changes nothing about them. The history is recorded at start,
after publishes of this process, and again with growing pauses while it fails. Backfills that were
interrupted go on.

What comes at set times is in jobs/agent.py: candles, the daily list, the search for holes. With
SCHEDULES=off the two latter are queued here, and candles never; with SCHEDULES=on they are where
documents are missing at the start.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from database import DATABASE_TEXT, DatabaseUnavailable, ListingState
from documents.names import GLOBAL_FR
from jobs.backfill import JOB_ID as BACKFILL
from jobs.closes import ALL_JOB
from jobs.context import JobContext
from jobs.history import JOB_ID as RECORD
from jobs.holes import EVERY_MS as HOLES_EVERY_MS
from jobs.holes import JOB_ID as HOLES
from logging_setup import OutageLog
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS
from market.unconfirmed_lists import ASKED_AGAIN_AFTER_MS
from stores.hot.store import StoreUnavailable
from timing.backoff import Backoff, stop_or, stop_or_done

_LOOK_EVERY_S: Final = 300.0
_FIRST_RETRY_S: Final = 2.0
_SLOWEST_RETRY_S: Final = 10.0
_ASKED_AGAIN_S: Final = 30.0  # after a job was queued, until its outcome is looked at
_DISCOVERY_EVERY_MS: Final = DAY_MS
_FIRST_PAUSE_MS: Final = MINUTE_MS
_LONGEST_PAUSE_MS: Final = HOUR_MS
_MOST_DOUBLINGS: Final = 10
_SETTLED_S: Final = {"native": 1.0, "upstash": 20.0}  # from a publish to the request for `record`

log = structlog.get_logger(__name__)


async def queue_due_jobs(context: JobContext, stop: asyncio.Event, *, ticks: bool = True) -> None:
    """Queues due jobs until `stop`; retries while a store is away. `ticks`: whether this process
    fires schedules."""
    async with asyncio.TaskGroup() as tasks:
        # Two tasks, because funding does not need the database and discovery does.
        tasks.create_task(_queue_when_due(context, "discovery", _discovery_due_s, stop))
        if context.settings.fr_refresh_on_start:
            tasks.create_task(_queue_when_due(context, "funding", _funding_due_s, stop, once=True))
        tasks.create_task(_queue_when_due(context, BACKFILL, backfill_due_s, stop))
        scheduled = context.settings.schedules == "on"
        if scheduled and ticks:
            tasks.create_task(_queue_when_due(context, ALL_JOB, _first_due_s, stop, once=True))
        if context.keeps_history:
            tasks.create_task(_queue_recording(context, stop))
            if not scheduled:
                tasks.create_task(_queue_when_due(context, HOLES, _holes_due_s, stop))


async def _queue_when_due(
    context: JobContext,
    job_id: str,
    due_s: Callable[[JobContext], Awaitable[float]],
    stop: asyncio.Event,
    *,
    once: bool = False,
) -> None:
    """Queues the job whenever `due_s` returns 0; else it returns in how many seconds it will."""
    outage = OutageLog(log, "due_jobs_not_checked", "due_jobs_checked_again")
    backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
    while not stop.is_set():
        try:
            left_s = await due_s(context)
            if left_s <= 0:
                await _request_unless_pending(context, job_id)
                left_s = _ASKED_AGAIN_S
            outage.recovered(job=job_id)
            if once:
                return
            backoff.reset()
            pause_s = min(left_s, _LOOK_EVERY_S)
        except (DatabaseUnavailable, StoreUnavailable) as error:
            outage.failed(error, job=job_id)
            pause_s = backoff.pause_s()
        await stop_or(stop, pause_s)


async def _queue_recording(context: JobContext, stop: asyncio.Event) -> None:
    """Queues `record` whenever it is wished for, and at start: others may have published."""
    outage = OutageLog(log, "recording_not_queued", "recording_queued_again")
    backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
    wish = context.recording
    wish.ask()
    while not stop.is_set():
        if await stop_or_done(stop, wish.wait()):
            return
        # What else the same job publishes is then recorded by the same run.
        if await stop_or(stop, _SETTLED_S[context.store.kind]):
            return
        wish.forget()
        try:
            await context.queue.request(RECORD)
            outage.recovered(job=RECORD)
            backoff.reset()
        except StoreUnavailable as error:
            outage.failed(error, job=RECORD)
            wish.ask()
            await stop_or(stop, backoff.pause_s())


async def _request_unless_pending(context: JobContext, job_id: str) -> None:
    """Queues the job, but no second run of one that is queued or running."""
    job = await context.queue.get(job_id)
    if job is None or not job.is_pending:
        await context.queue.request(job_id)


async def _discovery_due_s(context: JobContext) -> float:
    """In how many seconds the list of some exchange must be read (again); 0: now."""
    settings, now_ms = context.settings, context.now_ms()
    states = await context.database.listings.states(settings.exchanges, settings.quote)
    every_ms = _DISCOVERY_EVERY_MS if settings.schedules == "off" else None
    due_ms = min(list_due_ms(state, now_ms, every_ms) for state in states.values())
    job = await context.queue.get("discovery")
    if job is not None and job.last is not None and 0 < job.last.finished_at_ms <= now_ms:
        error = job.last.error if job.last.state == "failed" else None
        if error is not None and error.startswith(DATABASE_TEXT):
            due_ms = job.last.finished_at_ms + MINUTE_MS  # no list could be noted as read or failed
    return max(0.0, (due_ms - now_ms) / 1000)


def list_due_ms(state: ListingState, now_ms: int, every_ms: int | None) -> float:
    """When the list must be read (again).

    `every_ms` after it was believed, None: not by itself; a minute after it was not; after a
    failure in a minute, two, four and so on, up to an hour. A time in the future, by a clock that
    went back, does not count.
    """
    if state.failed_ms is not None and state.failed_ms <= now_ms:
        pause_ms = _FIRST_PAUSE_MS << min(max(0, state.failures - 1), _MOST_DOUBLINGS)
        return state.failed_ms + min(pause_ms, _LONGEST_PAUSE_MS)
    if state.unconfirmed_ms is not None and state.unconfirmed_ms <= now_ms:
        return state.unconfirmed_ms + ASKED_AGAIN_AFTER_MS
    if state.discovered_ms is None or state.discovered_ms > now_ms:
        return now_ms
    return math.inf if every_ms is None else state.discovered_ms + every_ms


async def backfill_due_s(context: JobContext) -> float:
    """In how many seconds it is to be seen whether a backfill is open; 0: one is, and after a kill,
    or once the database is there again, nobody may work on it. Raises DatabaseUnavailable."""
    return 0.0 if await context.database.backfills.open() else _LOOK_EVERY_S


async def _first_due_s(context: JobContext) -> float:
    """0 while documents of TIMEFRAMES are missing: their first ones do not wait for a close."""
    metas = await context.cache.read_metas(map(str, context.settings.timeframes))
    return _LOOK_EVERY_S if all(metas.values()) else 0.0


async def _holes_due_s(context: JobContext) -> float:
    """In how many seconds the history is to be searched for holes."""
    job, now_ms = await context.queue.get(HOLES), context.now_ms()
    if job is None or job.last is None or job.last.finished_at_ms > now_ms:
        return 0.0
    return max(0.0, (job.last.finished_at_ms + HOLES_EVERY_MS - now_ms) / 1000)


async def _funding_due_s(context: JobContext) -> float:
    return 0.0 if await _funding_is_due(context) else _LOOK_EVERY_S


async def _funding_is_due(context: JobContext) -> bool:
    """Whether the stored funding is missing or older than the last full hour, when settlements
    happen."""
    meta = await context.cache.read_meta(GLOBAL_FR)
    return meta is None or meta.as_of_ms < context.now_ms() // HOUR_MS * HOUR_MS
