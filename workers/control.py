"""Control: what an operator asks of workers, runs and queues; REST and command line call it."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, TypeVar

import structlog

from database import Database
from stores.cold.pool import Connection
from stores.cold.workers.notices import notify
from stores.cold.workers.queues import FOR_EVER, QueueRow, queues_of, set_concurrency, set_pause
from stores.cold.workers.rows import (
    OVERRIDABLE,
    WorkerRow,
    lock_row,
    now_of,
    rows_of,
    save_row,
)
from stores.cold.workers.run_rows import (
    OPEN_STATES,
    RunFilter,
    RunRow,
    add_run_now,
    end_as_aborted,
    lock_run,
    set_job,
)
from workers.columns import column_errors, shown
from workers.control_errors import CannotRun, UnknownQueue, UnknownRun, UnknownWorker, WrongChange
from workers.effective import changed, timetable_of_row, without_overrides
from workers.seam import Cancel, Enqueue
from workers.timetable import WrongTimetable

_T = TypeVar("_T")

NEXT_TOLD: Final = 5  # firings that a change tells
MOST_CONCURRENT: Final = 10_000
_LARGEST_ID: Final = 2**63 - 1
_LONGEST_PAUSE_S: Final = 10 * 366 * 86_400
_NAME: Final = re.compile(r"[ -~]{1,200}")  # others no database of any encoding holds
_OFF: Final = "SCHEDULES is off, so no worker runs: set it to on"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Changed:
    """A worker after a change, and when it fires next (UTC ms; fewer than five or none where it
    does not fire so often)."""

    worker: WorkerRow
    next_five_ms: list[int]


@dataclass(frozen=True, slots=True)
class Forced:
    """The run that was asked for. `coalesced`: it joined one that was queued or running already,
    whose id is `run.result["joined"]`."""

    run: RunRow
    coalesced: bool


class Control:
    """Every change is effective on all hosts once its call has returned, or within a second of it.

    `enqueue` and `cancel` are the engine's; None where SCHEDULES is off. `now_ms` takes the place
    of the database's clock for schedules. All methods raise DatabaseUnavailable, and the errors of
    control_errors.py that they name. `by` says who asked.
    """

    def __init__(
        self,
        database: Database,
        *,
        enqueue: Enqueue | None,
        cancel: Cancel | None,
        now_ms: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._enqueue = enqueue
        self._cancel = cancel

    async def workers(self) -> list[WorkerRow]:
        """All workers, by name."""
        return await self._database.workers.all()

    async def worker(self, name: str) -> WorkerRow:
        """Raises UnknownWorker."""
        found = await self._database.workers.one(name) if _NAME.fullmatch(name) else None
        if found is None:
            raise UnknownWorker(name, [row.name for row in await self.workers()])
        return found

    def next_firings(self, row: WorkerRow, count: int = NEXT_TOLD) -> list[int]:
        """When a worker fires next, UTC ms; empty where it is off, or no schedule fires it."""
        return next_firings(row, count)

    async def set_enabled(self, name: str, enabled: bool, by: str) -> WorkerRow:
        """Starts or stops a worker. A schedule that is stopped fires no more, and what it missed is
        not made up; a run that is queued or running goes on. Raises UnknownWorker."""
        return (await self.change(name, {"enabled": enabled}, by)).worker

    async def change(self, name: str, changes: Mapping[str, Any], by: str) -> Changed:
        """Overrides columns: cron, every_s, offset_s, tz, queue, egress, timeout_s, max_attempts,
        on_missed, enabled. A firing that was due before, and was missed, is made up; then the new
        timetable rules. Raises UnknownWorker, WrongChange."""

        def make(row: WorkerRow, now_ms: int) -> WorkerRow:
            if not changes:
                raise WrongChange([("change", f"names no column: {', '.join(OVERRIDABLE)}")])
            errors = column_errors(row.kind, changes)
            if errors:
                raise WrongChange(errors)
            try:
                return changed(row, changes, now_ms, by)
            except WrongTimetable as error:
                raise WrongChange(error.errors) from error

        return await self._save(name, make)

    async def without_override(self, name: str, by: str) -> Changed:
        """Goes back to what the code says. Raises UnknownWorker."""
        return await self._save(name, lambda row, now_ms: without_overrides(row, now_ms, by))

    async def force(
        self,
        name: str,
        by: str,
        input: Mapping[str, Any] | None = None,
    ) -> Forced:
        """Runs a worker now, also one that is stopped. Raises UnknownWorker, CannotRun."""

        async def work(connection: Connection) -> Forced:
            row = await _row(connection, name)
            if row.kind != "schedule":
                raise CannotRun(
                    f"{name} is a WebSocket worker, which has no runs: start or stop it"
                )
            return await self._ask(connection, name, "force", row.runs_on, input)

        forced = await self._in_transaction(work, runs=True)
        _log.info("worker_run_forced", worker=name, run=forced.run.id, by=by)
        return forced

    async def runs(
        self, which: RunFilter, before: tuple[int, int] | None = None, limit: int = 100
    ) -> list[RunRow]:
        """Runs, the newest first; `before`: slot and id of the last one of the page before."""
        return await self._database.run_rows.listed(which, before, limit)

    async def run(self, run_id: int) -> RunRow:
        """Raises UnknownRun."""
        found = await self._database.run_rows.one(run_id) if _may_be(run_id) else None
        if found is None:
            raise UnknownRun(run_id)
        return found

    async def abort(self, run_id: int, by: str) -> RunRow:
        """Ends a queued or running run. Raises UnknownRun, CannotRun where it is over."""

        async def work(connection: Connection) -> RunRow:
            run = await _locked_run(connection, run_id)
            ended = await end_as_aborted(connection, run, f"aborted by {by}")
            if ended is None:
                raise CannotRun(f"run {run_id} of {run.worker} is over: it is {run.state}")
            if self._cancel is not None and run.job_id is not None:
                await self._cancel(connection, [run.id])
            return ended

        aborted = await self._in_transaction(work)
        _log.info("worker_run_aborted", worker=aborted.worker, run=run_id, by=by)
        return aborted

    async def retry(self, run_id: int, by: str) -> Forced:
        """Runs a run that is over once more, with its input. Raises UnknownRun, CannotRun."""

        async def work(connection: Connection) -> Forced:
            run = await _locked_run(connection, run_id)
            if run.state in OPEN_STATES:
                raise CannotRun(
                    f"run {run_id} of {run.worker} is {run.state} as yet: abort it first"
                )
            if run.why == "part":
                raise CannotRun(
                    f"run {run_id} of {run.worker} is a part of other work: run that again"
                )
            row = await _row(connection, run.worker)
            return await self._ask(connection, row.name, "retry", row.runs_on, run.input)

        retried = await self._in_transaction(work, runs=True)
        _log.info("worker_run_retried", worker=retried.run.worker, run=run_id, by=by)
        return retried

    async def queues(self) -> list[QueueRow]:
        """All queues, by name."""
        return await self._database.worker_queues.all()

    async def pause(self, name: str, for_s: float | None, by: str) -> QueueRow:
        """Takes no more runs from a queue for so long; None: until it is resumed. What runs goes
        on. Raises UnknownQueue, WrongChange."""
        if for_s is not None and not 0 < for_s <= _LONGEST_PAUSE_S:
            raise WrongChange(
                [("for", f"{shown(for_s)}: must be above 0 s, and at most {_LONGEST_PAUSE_S} s")]
            )

        async def work(connection: Connection) -> None:
            now_ms = await now_of(connection)
            until_ms = FOR_EVER if for_s is None else now_ms + round(for_s * 1000)
            await set_pause(connection, name, until_ms)

        return await self._set_queue(name, work, "worker_queue_paused", by)

    async def resume(self, name: str, by: str) -> QueueRow:
        """Raises UnknownQueue."""
        return await self._set_queue(
            name, lambda connection: set_pause(connection, name, None), "worker_queue_resumed", by
        )

    async def limit(self, name: str, concurrency: int | None, by: str) -> QueueRow:
        """Lets at most so many runs of a queue run at once, over all hosts; None: no limit. Raises
        UnknownQueue, WrongChange."""
        whole = isinstance(concurrency, int) and not isinstance(concurrency, bool)
        if concurrency is not None and not (whole and 1 <= concurrency <= MOST_CONCURRENT):
            told = f"{shown(concurrency)}: must be 1 to {MOST_CONCURRENT}, or null for no limit"
            raise WrongChange([("concurrency", told)])
        return await self._set_queue(
            name,
            lambda connection: set_concurrency(connection, name, concurrency),
            "worker_queue_limited",
            by,
        )

    async def _save(self, name: str, make: Callable[[WorkerRow, int], WorkerRow]) -> Changed:
        async def work(connection: Connection) -> WorkerRow:
            before = await _row(connection, name)
            now_ms = await now_of(connection) if self._now_ms is None else self._now_ms()
            row = make(before, now_ms)
            await save_row(connection, row)
            await notify(connection, "worker")
            return row

        row = await self._in_transaction(work)
        _log.info("worker_changed", worker=name, by=row.changed_by, overrides=dict(row.overrides))
        return Changed(row, next_firings(row))

    async def _ask(
        self,
        connection: Connection,
        name: str,
        why: str,
        queue: str,
        input: Mapping[str, Any] | None,
    ) -> Forced:
        assert self._enqueue is not None  # noqa: S101 - of _in_transaction
        run = await add_run_now(connection, worker=name, why=why, queue=queue, input=input)
        if run.state == "coalesced":
            return Forced(run, coalesced=True)
        job_id = await self._enqueue(connection, run.id, queue)
        await set_job(connection, run, job_id)
        return Forced(replace(run, job_id=job_id), coalesced=False)

    async def _set_queue(
        self, name: str, work: Callable[[Connection], Awaitable[None]], event: str, by: str
    ) -> QueueRow:
        async def set_it(connection: Connection) -> QueueRow:
            _checked_queue(name, await queues_of(connection))
            await work(connection)
            await notify(connection, "queue")
            return _checked_queue(name, await queues_of(connection))

        found = await self._in_transaction(set_it)
        _log.info(event, queue=name, by=by, concurrency=found.concurrency)
        return found

    async def _in_transaction(
        self, work: Callable[[Connection], Awaitable[_T]], *, runs: bool = False
    ) -> _T:
        if runs and self._enqueue is None:
            raise CannotRun(_OFF)
        return await self._database.workers.in_transaction(work)


def next_firings(row: WorkerRow, count: int = NEXT_TOLD) -> list[int]:
    """When a row fires next, UTC ms, `next_run_ms` first; empty where nothing fires it."""
    if row.next_run_ms is None:
        return []
    return [row.next_run_ms, *islice(timetable_of_row(row).after(row.next_run_ms), count - 1)]


async def _row(connection: Connection, name: str) -> WorkerRow:
    """The row, locked. Raises UnknownWorker."""
    found = await lock_row(connection, name) if _NAME.fullmatch(name) else None
    if found is None:
        raise UnknownWorker(name, [row.name for row in await rows_of(connection)])
    return found


async def _locked_run(connection: Connection, run_id: int) -> RunRow:
    run = await lock_run(connection, run_id) if _may_be(run_id) else None
    if run is None:
        raise UnknownRun(run_id)
    return run


def _checked_queue(name: str, queues: Sequence[QueueRow]) -> QueueRow:
    """Raises UnknownQueue."""
    found = {queue.name: queue for queue in queues}
    if name not in found:
        raise UnknownQueue(name, list(found))
    return found[name]


def _may_be(run_id: int) -> bool:
    return 0 < run_id <= _LARGEST_ID
