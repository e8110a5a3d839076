"""PgQueuer's queries as our engine asks them: of jobs that are the manager's own, by our rules.

Of its own statements these are left as they are: enqueuing, ends, retries, log and console.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypedDict
from uuid import UUID

import asyncpg
from pgqueuer.adapters.persistence import qb
from pgqueuer.domain import models, types
from pgqueuer.domain.settings import DBSettings
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries

from stores.cold.pool import Connection, set_path
from stores.cold.workers.engine_jobs import (
    lock_owned,
    lock_untaken,
    sign_of_life,
    take_queued,
)
from stores.cold.workers.engine_taking import EngineTables, take, take_unruled, waiting
from stores.cold.workers.runs import OpenRun, held_runs, jobs_aborted
from workers.engine_driver import EngineDriver, OnConnection, changed
from workers.job_names import entrypoint_of, key_of, queue_of

# A job whose host has given no sign for so long is another's; a sign is given twice within it.
LEASE_S: Final = 9.0
LEASE: Final = timedelta(seconds=LEASE_S)

_IDS_TOLD: Final = 200  # by one notification, which holds 8000 bytes
# Another host has taken the place of a limited queue at the same instant.
_TAKEN_BY_ANOTHER: Final = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError)


class _Within(TypedDict):
    """What `take` keeps within."""

    batch: int
    most: int
    lease: timedelta


def queries_on(driver: EngineDriver, settings: DBSettings) -> "OwnedQueries":
    return OwnedQueries(
        driver,
        qb.QueryBuilderEnvironment(settings),
        qb.QueryQueueBuilder(settings),
        qb.QuerySchedulerBuilder(settings),
    )


class OwnedQueries(Queries):
    """PgQueuer's queries; those of a manager change only the jobs that are its own.

    `owner`: the manager's id; None where the caller may change any. `claims`: of the runs that go
    on in this process.
    """

    driver: EngineDriver
    owner: types.QueueManagerId | None = None
    claims: Callable[[], Mapping[int, UUID]] = dict
    _may_lack: bool = True  # the runs that go on here, their jobs
    _ruled: bool = False  # there was a limited or paused queue among ours
    _next_s: float | None = None

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[types.QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: types.QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[models.Job]:
        """Takes jobs by the rules of their queues as they are in that moment, which PgQueuer keeps
        in the memory of each host.

        After an outage the hosts that live have given no sign either: they get time to. How long is
        known only once there is a connection again. The lost jobs of runs that go on here are the
        first."""
        may_lack, self._may_lack = self._may_lack, False
        assert global_concurrency_limit is not None  # noqa: S101 - of Engine

        async def work(connection: Connection) -> list[models.Job]:
            lost = await self._take_lost(connection) if may_lack else []
            wanted = connection, self._tables, _queues(entrypoints), queue_manager_id
            within: _Within = {
                "batch": batch_size,
                "most": global_concurrency_limit,
                "lease": heartbeat_timeout + timedelta(seconds=self.driver.forgiven_s()),
            }
            rows: list[asyncpg.Record] = []
            async with self.driver.in_our_path(connection):
                if not self._ruled:
                    rows, self._ruled = await take_unruled(*wanted, **within)
                if self._ruled:
                    rows += await take(*wanted, **within)
            return lost + _jobs(rows)

        try:
            return await self.driver.call(work)
        except _TAKEN_BY_ANOTHER:
            return []

    async def _take_lost(self, connection: Connection) -> list[models.Job]:
        """Jobs, made anew by whom ever, of runs that go on here."""
        if not self.claims():
            return []
        async with connection.transaction():
            await set_path(connection, self.driver.search_path)
            runs = await held_runs(connection, self.claims())
            await self.on(connection).enqueue_again(runs)
            keys = (key_of(run.run_id) for run in runs)
            return _jobs(await take_queued(connection, self._tables.jobs, [*keys], self.owner))

    async def enqueue_again(self, runs: Sequence[OpenRun]) -> list[tuple[int, int]]:
        """Enqueues those of these runs that have no job; pairs of run and job."""
        jobs = await self.enqueue(
            [entrypoint_of(run.queue) for run in runs],
            [str(run.run_id).encode() for run in runs],
            [0] * len(runs),
            execute_after=[LEASE if run.state == "running" else None for run in runs],
            dedupe_key=[key_of(run.run_id) for run in runs],
            on_conflict="skip",
        )
        pairs = zip(runs, jobs, strict=True)
        return [(run.run_id, int(job)) for run, job in pairs if job is not None]

    async def log_jobs(
        self,
        job_status: list[tuple[models.Job, types.JOB_STATUS, models.TracebackRecord | None]],
    ) -> None:
        async def work(queries: Queries, owned: set[int]) -> None:
            ended = [entry for entry in job_status if entry[0].id in owned]
            if ended:
                await queries.log_jobs(ended)

        await self._on_owned([job.id for job, _, _ in job_status], work)

    async def retry_job(
        self, job: models.Job, delay: timedelta, traceback: models.TracebackRecord | None
    ) -> None:
        """Tells the other hosts, too, which PgQueuer leaves to their next look."""

        async def work(queries: Queries, owned: set[int]) -> None:
            if job.id in owned:
                await queries.retry_job(job, delay, traceback)
                await queries.driver.notify(
                    self.qbq.settings.channel, changed(self.qbq.settings.channel)
                )

        await self._on_owned([job.id], work)

    async def update_heartbeat(self, job_ids: list[types.JobId]) -> None:
        ids = set(job_ids)
        alive = await self.driver.call(
            lambda c: sign_of_life(c, self._tables.jobs, ids, self.owner)
        )
        if alive < len(ids):
            self._may_lack = True
            self.driver.wake()

    async def eligible_queued_work(self, entrypoints: list[types.QueueEntrypoint]) -> int:
        """Asks at once for what the manager asks next, too: an idle host looks often. PgQueuer
        would look ten times a second where jobs wait in a queue that is full or paused."""

        async def work(connection: Connection) -> tuple[bool, float | None]:
            async with self.driver.in_our_path(connection):
                found = await waiting(connection, self._tables, _queues(entrypoints))
            return found.takeable, found.next_s

        self._ruled = False  # it is looked for anew
        takeable, self._next_s = await self.driver.call(work)
        return int(takeable)

    async def next_deferred_eta(self, entrypoints: list[types.QueueEntrypoint]) -> timedelta | None:
        return None if self._next_s is None else timedelta(seconds=self._next_s)

    async def queued_work(self, entrypoints: list[types.QueueEntrypoint]) -> int:
        """Asked for jobs that became due between the two questions before, which are one here."""
        return 0

    async def mark_job_as_cancelled(self, ids: list[types.JobId]) -> None:
        """As the console has it: the runs of these jobs are aborted, too."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await jobs_aborted(connection, self._tables.jobs, ids)
                await self.on(connection).drop(ids)

        await self.driver.call(work)

    async def drop(self, ids: list[types.JobId]) -> None:
        """Takes out as canceled the jobs that no host has taken, and tells the hosts of the others,
        which keep their places until the functions of their runs have ended."""

        async def work(connection: Connection) -> None:
            untaken = await lock_untaken(connection, self._tables.jobs, ids)
            ended = [*untaken], ["canceled"] * len(untaken), [None] * len(untaken)
            await connection.execute(self.qbq.build_log_job_query(), *ended)

        await self.driver.call(work)
        for first in range(0, len(ids), _IDS_TOLD):
            await self.notify_job_cancellation(ids[first : first + _IDS_TOLD])

    def on(self, connection: Connection) -> "OwnedQueries":
        """The same, of nobody, on a connection and in its transaction."""
        return OwnedQueries(OnConnection(connection), self.qbe, self.qbq, self.qbs)

    @property
    def _tables(self) -> EngineTables:
        names = self.qbq.settings.qualified
        return EngineTables(names.queue_table, names.queue_table_log)

    async def _on_owned(
        self, ids: list[types.JobId], change: Callable[[Queries, set[int]], Awaitable[None]]
    ) -> None:
        """Has `change` change jobs in a transaction, told which of `ids` are ours."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                owned = await lock_owned(connection, self._tables.jobs, ids, self.owner)
                plain = Queries(OnConnection(connection), self.qbe, self.qbq, self.qbs)
                await change(plain, owned)

        await self.driver.call(work)


def _queues(entrypoints: Iterable[types.QueueEntrypoint]) -> dict[str, str]:
    return {queue_of(entrypoint): entrypoint for entrypoint in entrypoints}


def _jobs(rows: Iterable[asyncpg.Record]) -> list[models.Job]:
    return [models.Job.model_validate(dict(row)) for row in rows]
