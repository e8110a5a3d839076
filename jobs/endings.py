"""Endings: the runs of jobs that have ended here, written into the cold store beside the jobs.

A job never waits for it, and none fails by it: while the database is away a number of them are
kept, and what was dropped beyond that is counted.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import structlog

from data_collector.base_documents import LATE
from data_collector.collect_or_carry_over import AWAITS_FUNDING, NOT_ASKED
from database import DATABASE_TEXT, Database, DatabaseUnavailable, DataCollection, FailureLog
from job_queue.records import JobRecord
from logging_setup import OutageLog
from market.left_out import read_left_out
from market.markets import NOT_FETCHED_YET, Exchange, Missing
from texts.foreign import foreign_text
from timing.backoff import Backoff, stop_or_done
from timing.clock import now_ms

MOST_KEPT: Final = 1000  # runs, while the database is away: three days of closes
_AT_ONCE: Final = 100
_MOST_CAUSES: Final = 20  # of one run
_LONGEST_CAUSE: Final = 1000
_FIRST_RETRY_S: Final = 1.0
_SLOWEST_RETRY_S: Final = 60.0
_LAST_WRITE_S: Final = 0.7  # when the process ends
# What these jobs do is kept; the others bring nothing into the service, and only fail.
_ASKS_PROVIDERS: Final = ("providers", "providers_all")
_BRINGS: Final = (
    *("backfill", "collect", "discovery", "fill", "funding", "holes"),
    *_ASKS_PROVIDERS,
)
# What results of jobs call the rows that were saved.
_ROWS: Final = ("rows", "filled", "markets")

# Reasons of what a later run brings, as long as nothing else has failed.
_EXPECTED: Final = frozenset({NOT_FETCHED_YET, NOT_ASKED, LATE, AWAITS_FUNDING})

log = structlog.get_logger(__name__)

Ended = tuple[DataCollection | None, list[FailureLog]]


class Endings:
    """What one process keeps until it is written. `on_dropped` is told how many runs are lost."""

    def __init__(
        self,
        database: Database,
        host: str,
        *,
        on_dropped: Callable[[int], None] = lambda _: None,
        clock_ms: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._host = host
        self._on_dropped = on_dropped
        self._clock_ms = clock_ms
        self._kept: deque[Ended] = deque()
        self._dropped = 0
        self._came = asyncio.Event()

    def ended(
        self,
        job: JobRecord,
        *,
        result: Mapping[str, Any] | None,
        missing: Sequence[Missing],
        error: str | None,
    ) -> None:
        """Notes how a run ended, complete with a `result` and what its documents lack, or failed
        with an `error`; it returns at once."""
        ended_ms = self._clock_ms()
        failures = list(_failures(job.id, ended_ms, missing, error))
        if job.kind in _ASKS_PROVIDERS:
            failures += _untold(job.id, ended_ms, result)
        collection = None
        if job.kind in _BRINGS:
            collection = _collection(job, ended_ms, result, error, self._host)
        if collection is None and not failures:
            return
        if len(self._kept) >= MOST_KEPT:
            self._kept.popleft()
            self._dropped += 1
            self._on_dropped(1)
        self._kept.append((collection, failures))
        self._came.set()

    async def write(self, stop: asyncio.Event) -> None:
        """Writes what was noted, until `stop`, and then what is left, if that is quick."""
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(log, "endings_not_written", "endings_written_again")
        while not await stop_or_done(stop, self._came.wait()):
            try:
                await self._write_all()
                outage.recovered()
                backoff.reset()
            except DatabaseUnavailable as error:
                outage.failed(error, kept=len(self._kept), dropped=self._dropped)
                if await stop_or_done(stop, asyncio.sleep(backoff.pause_s())):
                    break
        await self.write_rest()

    async def write_rest(self, within_s: float = _LAST_WRITE_S) -> None:
        """Writes what is left; what cannot be written in this time is lost, and told."""
        try:
            async with asyncio.timeout(within_s):
                await self._write_all()
        except (DatabaseUnavailable, TimeoutError) as error:
            log.warning("endings_lost", runs=len(self._kept) + self._dropped, error=str(error))

    async def _write_all(self) -> None:
        """Raises DatabaseUnavailable; what was not written then stays."""
        self._came.clear()
        try:
            while self._kept:
                some = [self._kept[i] for i in range(min(_AT_ONCE, len(self._kept)))]
                await self._database.data_collections.add(
                    [(collection, failures) for collection, failures in some if collection]
                )
                alone = [each for collection, found in some if not collection for each in found]
                await self._database.failure_logs.add(alone)
                for each in some:  # meanwhile the oldest may have been dropped
                    if self._kept and self._kept[0] is each:
                        self._kept.popleft()
            if self._dropped:
                await self._database.failure_logs.add([self._told_dropped()])
                self._dropped = 0
        except DatabaseUnavailable:
            self._came.set()
            raise

    def _told_dropped(self) -> FailureLog:
        return FailureLog(
            at_ms=self._clock_ms(),
            source="database",
            subject="data_collections",
            cause=f"runs that ended at {self._host} were not kept while the database was away",
            count=self._dropped,
        )


def _collection(
    job: JobRecord,
    ended_ms: int,
    result: Mapping[str, Any] | None,
    error: str | None,
    host: str,
) -> DataCollection:
    details: dict[str, Any] = dict(result or {})
    records = next((_number(details.pop(name)) for name in _ROWS if name in details), 0)
    requests = _number(details.pop("requests", 0))
    if error is not None:
        details["error"] = foreign_text(error, _LONGEST_CAUSE)
    return DataCollection(
        kind=job.kind,
        subject=job.id,
        run=job.run,
        worker_run=job.asked_by,
        started_at_ms=job.started_at or ended_ms,
        finished_at_ms=ended_ms,
        state="complete" if error is None else "failed",
        records=records,
        requests=requests,
        host=host,
        details=details,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _failures(
    job_id: str, ended_ms: int, missing: Sequence[Missing], error: str | None
) -> Iterable[FailureLog]:
    """What failed in a run: itself, and what its documents lack by failures, by cause."""
    if error is not None:
        yield FailureLog(
            at_ms=ended_ms,
            source=_source_of(error),
            subject=job_id,
            cause=foreign_text(error, _LONGEST_CAUSE),
        )
    lacks = [each for each in missing if is_failure(each)]
    by_cause = Counter((str(each.exchange), each.part, each.reason) for each in lacks)
    only = {(str(each.exchange), each.part, each.reason): each.symbol for each in lacks}
    for cause, count in by_cause.most_common(_MOST_CAUSES):
        exchange, part, reason = cause
        symbol = only[cause] if count == 1 else None
        yield FailureLog(
            at_ms=ended_ms,
            source=exchange,
            subject=job_id,
            market=None if symbol is None else f"{exchange}:{symbol}",
            cause=foreign_text(f"{part}: {reason}", _LONGEST_CAUSE),
            count=count,
        )


def _untold(job_id: str, ended_ms: int, result: Mapping[str, Any] | None) -> list[FailureLog]:
    """What a round has not been told by any provider, by kind and subject."""
    causes = [
        f"{kind} of {subject}: {why}"
        for kind, told in (result or {}).get("kinds", {}).items()
        for subject, why in told["missing"].items()
    ]
    return [
        FailureLog(
            at_ms=ended_ms,
            source="providers",
            subject=job_id,
            cause=foreign_text(cause, _LONGEST_CAUSE),
        )
        for cause in causes[:_MOST_CAUSES]
    ]


def is_failure(lack: Missing) -> bool:
    """Whether a document lacks this because something failed: neither by a row that was left out
    nor by what has not been asked for yet, nor because the exchange does not serve it any more."""
    if lack.symbol is None and lack.part != "listing":
        return False
    return lack.reason not in _EXPECTED and read_left_out(lack.reason) is None


def _source_of(error: str) -> str:
    """The exchange that an error's text names first, as those of exchanges do; the database; or
    else the job itself."""
    if error.startswith(DATABASE_TEXT):
        return "database"
    return next((str(each) for each in Exchange if error.startswith(f"{each}")), "job")
