"""Asks for jobs of the wish queue in a worker's name, and waits for what becomes of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from cache_manager import CacheManager
from job_queue.kinds import ALL, collect_id, job_definition
from job_queue.queue import JobQueue
from job_queue.records import JobRecord
from logging_setup import OutageLog
from stores.hot.store import StoreRefused, StoreUnavailable
from timing.backoff import Backoff, stop_or

_LOOK_EVERY_S: Final = 0.5  # for runs that end in other processes
# At most one market of so many may have old rows: those that fail at every close would otherwise
# let all the others be asked for twice.
_STALE_OF: Final = 20
_FIRST_RETRY_S: Final = 0.25
_SLOWEST_RETRY_S: Final = 2.0
_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """A wish: the job's id, and its run that will satisfy it. `fresh`: what is wanted was there
    already, and nothing was asked; `run` is then 0."""

    id: str
    run: int
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish. `state`: fresh, complete, failed, aborted, or pending where it had not
    ended in time; `result` and `error` are those of the run."""

    id: str
    run: int
    state: str
    result: Mapping[str, Any] | None = None
    error: str | None = None


class Asker:
    """All methods raise StoreUnavailable."""

    def __init__(self, queue: JobQueue, cache: CacheManager, timeframes: tuple[str, ...]) -> None:
        """`timeframes`: the setting TIMEFRAMES, which limits the job of all of them."""
        self._queue = queue
        self._cache = cache
        self._timeframes = timeframes

    async def ask(
        self, job_id: str, not_older_than_ms: int | None = None, *, asked_by: int | None = None
    ) -> Asked:
        """Queues the job, or joins a run that is still queued. With `not_older_than_ms` nothing is
        asked where each document that the job publishes is of that time (UTC ms) or a later one,
        and hardly a market of it failed, apart from those of exchanges that brought nothing at
        all. `asked_by`: the id of the worker's run. Raises ValueError
        for an unknown id."""
        if not_older_than_ms is not None and await self.is_fresh(job_id, not_older_than_ms):
            return Asked(job_id, 0, fresh=True)
        job_definition(job_id)
        record = await self._queue.request(job_id, asked_by=asked_by)
        return Asked(job_id, record.run)

    async def is_fresh(self, job_id: str, not_older_than_ms: int) -> bool:
        """Whether `ask` would find all there. Raises ValueError for an unknown id."""
        documents = job_definition(job_id).published(self._timeframes)
        return bool(documents) and await self._are_fresh(documents, not_older_than_ms)

    async def pending(self, job_id: str) -> Asked | None:
        """The run of the job that is queued or running, if one is."""
        record = await self._queue.get(job_id)
        return Asked(job_id, record.run) if record is not None and record.is_pending else None

    async def wait_for(self, asked: Asked, within_s: float) -> Outcome:
        """Waits until the run has ended, `within_s` at most."""
        if asked.fresh:
            return Outcome(asked.id, asked.run, "fresh")
        deadline = time.monotonic() + within_s
        while True:
            run_ended = self._queue.next_run_end()
            outcome = _outcome(asked, await self._queue.get(asked.id))
            left_s = deadline - time.monotonic()
            if outcome.state != "pending" or left_s <= 0:
                return outcome
            await stop_or(run_ended, min(_LOOK_EVERY_S, left_s))

    async def _are_fresh(self, documents: tuple[str, ...], not_older_than_ms: int) -> bool:
        metas, lost = await self._cache.read_states(documents)
        if lost or any(
            meta is None or meta.as_of_ms < not_older_than_ms for meta in metas.values()
        ):
            return False
        counts = [meta.counts for meta in metas.values() if meta is not None and meta.counts]
        if all(each.stale * _STALE_OF <= each.markets for each in counts):
            return True
        return await self._lacked_an_exchange(not_older_than_ms)

    async def _lacked_an_exchange(self, since_ms: int) -> bool:
        """Whether a pass since then brought nothing of an exchange, which explains what is stale:
        as long as that is away, asking again costs the others all their requests twice."""
        record = await self._queue.get(collect_id(ALL))
        last = None if record is None else record.last
        if last is None or last.as_of_ms is None or last.as_of_ms < since_ms:
            return False
        return bool((last.result or {}).get("absent"))


async def through_outage(call: Callable[[], Awaitable[_T]]) -> _T:
    """Calls until the hot store answers, however long it is away. Raises StoreRefused for what it
    refuses for good."""
    backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
    outage = OutageLog(_log, "asking_waits_for_store", "asking_goes_on")
    while True:
        try:
            found = await call()
        except StoreUnavailable as error:
            if isinstance(error, StoreRefused) and not error.transient:
                raise
            outage.failed(error)
            await asyncio.sleep(backoff.pause_s())
        else:
            outage.recovered()
            return found


def _outcome(asked: Asked, record: JobRecord | None) -> Outcome:
    """The end of the run, or of a later one, which satisfies the wish as well."""
    if record is None:
        return Outcome(asked.id, asked.run, "failed", error="its record is gone")
    if record.run >= asked.run and not record.is_pending:
        return Outcome(asked.id, record.run, record.state, record.result, record.error)
    last = record.last
    if last is not None and last.run >= asked.run:
        return Outcome(asked.id, last.run, last.state, last.result, last.error)
    return Outcome(asked.id, asked.run, "pending")
