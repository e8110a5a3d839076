"""Engine: PgQueuer, which carries runs to hosts; the only module that knows it.

What travels is a run's id; all truth is in our tables, so PgQueuer's may be dropped at any time.
What it does otherwise than we need is put right here, each with the test that shows why:
- Heartbeats, ends and retries are by job id alone: a host that was frozen and wakes would end the
  job of the host that has taken it over. _OwnedQueries asks whose it is first.
- A job that was lost and made anew is anybody's, although its run goes on: who runs it takes it
  first (_OwnedQueries.dequeue).
- Its manager ends when PostgreSQL restarts, and waits for the running jobs before it says so. The
  driver here waits for the next connection instead; and a run goes on beside its manager, which
  does not wait for it where its tables are gone.
- It looks for the jobs of dead hosts every 30 s: LOOK_S.
- A paused queue with waiting jobs would be asked for ten times a second.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import asyncpg
import structlog
from pgqueuer.adapters.persistence import qb
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import errors, models, types
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.ports.repository import EntrypointExecutionParameter
from pgqueuer.queries import Queries

from database import Database
from logging_setup import OutageLog
from stores.cold.lone_connection import LoneConnection
from stores.cold.pool import Connection, DatabaseUnavailable, set_path
from stores.cold.workers.engine_jobs import (
    forget_log,
    lock_owned,
    server_ms,
    sign_of_life,
    take_queued,
)
from stores.cold.workers.runs import OpenRun, held_runs, jobs_aborted
from timing.backoff import Backoff, stop_or
from timing.clock import now_ms
from workers.engine_driver import EngineDriver, OnConnection, OnLoneConnection, OnPool, changed
from workers.job_names import entrypoint_of, key_of, queue_of
from workers.seam import Again, QueueRule, Runner

# A job whose host has given no sign for so long is another's; a sign is given twice within it.
LEASE_S: Final = 9.0
_LEASE: Final = timedelta(seconds=LEASE_S)
# How often a host looks by itself: for jobs of dead hosts, and for what no notification told.
LOOK_S: Final = 4.0
# Runs of one host at once, and taken by one look.
AT_ONCE: Final = 64
_BATCH: Final = 16
_STATISTICS_S: Final = 60.0
_RESTORE_EVERY_S: Final = 60.0
_FORGET_EVERY_S: Final = 3600.0
_END_S: Final = 2.0  # for handing back, at stop
_FIRST_RETRY_S: Final = 0.2
_SLOWEST_RETRY_S: Final = 5.0

_IDS_TOLD: Final = 200  # by one notification, which holds 8000 bytes
_ENGINE_ERRORS: Final = (asyncpg.PostgresError, errors.PgqException, RuntimeError)
_log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from fastapi import FastAPI


class Engine:
    """The engine in the schema `schema` of `database`. Connects to nothing before it is asked to.
    `enqueue` and `cancel` work in any process; `run` in those that run workers."""

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._settings = _settings(schema)
        self._rules: Mapping[str, QueueRule] = {}
        self._manager: _Manager | None = None
        # Beside the manager, so that a run outlives it; and the event that cancels it.
        self._running: dict[int, tuple[asyncio.Task[Again | None], asyncio.Event]] = {}

    async def enqueue(
        self, connection: Connection, run_id: int, queue: str, not_before_ms: int | None = None
    ) -> int:
        """As seam.Enqueue."""
        after = None
        if not_before_ms is not None:
            after_ms = not_before_ms - await server_ms(connection)
            after = timedelta(milliseconds=max(after_ms, 0))
        [job] = await self.queries(OnConnection(connection)).enqueue(
            *(entrypoint_of(queue), str(run_id).encode()),
            execute_after=after,
            dedupe_key=key_of(run_id),
        )
        return int(job)

    async def cancel(self, connection: Connection, job_ids: Sequence[int]) -> None:
        """As seam.Cancel."""
        if job_ids:
            queries = self.queries(OnConnection(connection))
            await queries.drop([types.JobId(job) for job in job_ids])

    def limit(self, rules: Mapping[str, QueueRule]) -> None:
        """Takes what rows say of queues from now on; a queue that is not among them is open."""
        self._rules = rules
        if self._manager is not None:
            self._manager.limit(rules)
            self._manager.wake()

    async def run(self, stop: asyncio.Event, queues: Sequence[str], runner: Runner) -> None:
        """Takes the runs of `queues` until `stop`, whatever happens to PostgreSQL meanwhile, and
        hands back then what still runs."""
        connection = self._database.lone_connection("perpcache-engine")
        driver = OnLoneConnection(connection, self._settings.channel, LEASE_S)
        over = asyncio.Event()
        keep = asyncio.create_task(connection.keep(over), name="engine-connection")
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(_log, "engine_failed", "engine_works_again")
        try:
            while not stop.is_set():
                try:
                    await self.install(connection)
                    await self.restore()
                    outage.recovered()
                    backoff.reset()
                    await self._manage(driver, queues, stop, runner)
                except (DatabaseUnavailable, *_ENGINE_ERRORS) as error:
                    outage.failed(f"{type(error).__name__}: {error}")
                    await stop_or(stop, backoff.pause_s())
            if self._running:
                await asyncio.wait([task for task, _ in self._running.values()], timeout=_END_S)
        finally:
            over.set()
            await keep

    async def install(self, connection: LoneConnection) -> None:
        """Makes or upgrades the engine's tables, one host at a time. Raises DatabaseUnavailable."""

        async def work(found: Connection) -> None:
            await self.queries(OnConnection(found)).apply_upgrade()

        await connection.wait_until_open(LOOK_S)
        await connection.call(work)

    async def restore(self) -> int:
        """Enqueues the open runs that have no job, and returns how many. One that is marked as
        running waits first, for its host to take it. Raises DatabaseUnavailable."""
        rows = self._database.worker_runs
        lacking = await rows.without_job(self._settings.qualified.queue_table)
        if not lacking:
            return 0

        async def write(connection: Connection) -> list[tuple[int, int]]:
            return await self.queries(OnConnection(connection)).enqueue_again(lacking)

        made = await self._database.pool.write(write)
        await rows.give_jobs(made)
        _log.info("runs_enqueued_again", runs=len(made))
        return len(made)

    async def _manage(
        self, driver: OnLoneConnection, queues: Sequence[str], stop: asyncio.Event, runner: Runner
    ) -> None:
        """Runs one manager until `stop`, or until its tables are not as it needs them. Raises what
        has broken it."""
        driver.begin()
        queries = self.queries(driver)
        queries.claims = lambda: runner.claims
        manager = _Manager(queries, self._settings.channel)
        for queue in queues:
            manager.entrypoint(entrypoint_of(queue), accepts_context=True)(
                self._taker(stop, runner, driver.broken)
            )
        self._manager = manager
        manager.limit(self._rules)
        _log.info("engine_ready", queues=list(queues))
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._run_manager(manager), name="engine"),
            asyncio.create_task(self._upkeep(driver, manager), name="engine-upkeep"),
        ]
        stopping = asyncio.create_task(stop.wait())
        waits: list[asyncio.Future[Any]] = [*tasks, stopping, driver.broken]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            manager.shutdown.set()
            tasks[1].cancel()
            if stop.is_set():
                await asyncio.wait(tasks, timeout=_END_S)
            if driver.broken.done():
                raise driver.broken.result()
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
        finally:
            self._manager = None
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _run_manager(self, manager: "_Manager") -> None:
        await manager.run(
            dequeue_timeout=timedelta(seconds=LOOK_S),
            batch_size=_BATCH,
            max_concurrent_tasks=AT_ONCE,
            heartbeat_timeout=_LEASE,
            log_aggregation_interval=timedelta(seconds=_STATISTICS_S),
        )

    def _taker(
        self, stop: asyncio.Event, runner: Runner, broken: "asyncio.Future[Exception]"
    ) -> Callable[[models.Job, models.Context], Awaitable[None]]:
        async def take(job: models.Job, context: models.Context) -> None:
            run_id = int(job.payload or b"")
            if run_id not in self._running:
                cancelled = asyncio.Event()
                running = asyncio.create_task(runner(run_id, cancelled, stop), name=f"run-{run_id}")
                running.add_done_callback(lambda _: self._running.pop(run_id, None))
                self._running[run_id] = running, cancelled
            running, cancelled = self._running[run_id]
            telling = asyncio.create_task(_tell_cancelled(context, cancelled))
            try:
                await asyncio.wait((running, broken), return_when=asyncio.FIRST_COMPLETED)
                if not running.done() and not broken.cancelled():
                    raise errors.RetryRequested(_LEASE, "what the manager had is lost")
                again = await asyncio.shield(running)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
            if again is not None:
                delay = timedelta(seconds=again.after_s)
                raise errors.RetryRequested(delay, str(again.because or "")) from again.because

        return take

    async def _upkeep(self, driver: EngineDriver, manager: "_Manager") -> None:
        """Wakes the manager when a pause ends; enqueues runs again that lost their jobs; and cuts
        the engine's log, which it does not do itself."""
        restored_s = forgot_s = time.monotonic()
        while True:
            await manager.until_opening(_RESTORE_EVERY_S)
            driver.wake()
            if time.monotonic() - restored_s >= _RESTORE_EVERY_S:
                restored_s = time.monotonic()
                with contextlib.suppress(DatabaseUnavailable):  # told by those who run
                    await self.restore()
            if time.monotonic() - forgot_s >= _FORGET_EVERY_S:
                forgot_s = time.monotonic()
                await self.forget(driver)

    async def forget(self, driver: EngineDriver) -> None:
        """Cuts the engine's log and its counts, which it keeps for ever."""
        names = self._settings.qualified
        await driver.call(lambda c: forget_log(c, names.queue_table_log, names.statistics_table))

    def queries(self, driver: EngineDriver) -> "_OwnedQueries":
        settings = self._settings
        return _OwnedQueries(
            driver,
            qb.QueryBuilderEnvironment(settings),
            qb.QueryQueueBuilder(settings),
            qb.QuerySchedulerBuilder(settings),
        )


class _Manager(QueueManager):
    """PgQueuer's manager, which takes nothing of queues that are paused."""

    def __init__(self, queries: "_OwnedQueries", channel: str) -> None:
        super().__init__(queries, types.Channel(channel))
        queries.owner, queries.is_closed = self.queue_manager_id, self.is_closed
        self._opens_ms: dict[str, int] = {}
        self._limited = asyncio.Event()
        self.wake = queries.driver.wake

    def limit(self, rules: Mapping[str, QueueRule]) -> None:
        for name, executor in self.entrypoint_registry.items():
            rule = rules.get(queue_of(name), QueueRule())
            executor.parameters.concurrency_limit = rule.concurrency or 0
            self._opens_ms[name] = rule.paused_until_ms or 0
        self._limited.set()

    def is_closed(self, entrypoint: str) -> bool:
        return self._opens_ms.get(entrypoint, 0) > now_ms()

    async def until_opening(self, longest_s: float) -> None:
        """Returns when a pause ends or what holds of queues has changed, or after `longest_s`."""
        self._limited.clear()
        ends = [end - now_ms() for end in self._opens_ms.values() if end > now_ms()]
        wait_s = max(min(ends, default=math.inf) / 1000, 0.05)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(wait_s, longest_s)):
                await self._limited.wait()

    def entrypoints_below_capacity_limits(self) -> set[types.QueueEntrypoint]:
        return {name for name in self.entrypoint_registry if not self.is_closed(name)}


class _OwnedQueries(Queries):
    """PgQueuer's queries; those of a manager change only the jobs that are its own.

    `owner`: the manager's id; None where the caller may change any. `claims`: of the runs that go
    on in this process.
    """

    driver: EngineDriver
    owner: types.QueueManagerId | None = None
    is_closed: Callable[[str], bool] = staticmethod(lambda _: False)
    claims: Callable[[], Mapping[int, UUID]] = dict
    _may_lack: bool = True  # the runs that go on here, their jobs
    _eta: timedelta | None = None
    _waiting: int = 0

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[types.QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: types.QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[models.Job]:
        """After an outage the hosts that live have given no sign either: they get time to. How
        long is known only once there is a connection again. The lost jobs of runs that go on here
        are the first."""
        if not entrypoints:
            return []
        may_lack, self._may_lack = self._may_lack, False

        async def work(connection: Connection) -> list[models.Job]:
            lease = heartbeat_timeout + timedelta(seconds=self.driver.forgiven_s())
            plain = Queries(OnConnection(connection), self.qbe, self.qbq, self.qbs)
            lost = await self._take_lost(connection) if may_lack else []
            return lost + await plain.dequeue(
                batch_size, entrypoints, queue_manager_id, global_concurrency_limit, lease
            )

        return await self.driver.call(work)

    async def _take_lost(self, connection: Connection) -> list[models.Job]:
        """Jobs, made anew by whom ever, of runs that go on here."""
        if not self.claims():
            return []
        async with connection.transaction():
            await set_path(connection, self.driver.search_path)
            runs = await held_runs(connection, self.claims())
            await self.on(connection).enqueue_again(runs)
            keys = (key_of(run.run_id) for run in runs)
            rows = await take_queued(connection, self._table, [*keys], self.owner)
        return [models.Job.model_validate(dict(row)) for row in rows]

    async def enqueue_again(self, runs: Sequence[OpenRun]) -> list[tuple[int, int]]:
        """Enqueues those of these runs that have no job; pairs of run and job."""
        jobs = await self.enqueue(
            [entrypoint_of(run.queue) for run in runs],
            [str(run.run_id).encode() for run in runs],
            [0] * len(runs),
            execute_after=[_LEASE if run.state == "running" else None for run in runs],
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
        alive = await self.driver.call(lambda c: sign_of_life(c, self._table, ids, self.owner))
        if alive < len(ids):
            self._may_lack = True
            self.driver.wake()

    async def eligible_queued_work(self, entrypoints: list[types.QueueEntrypoint]) -> int:
        """Asks in one transaction for what the manager asks next, too: an idle host looks often."""
        asked = [name for name in entrypoints if not self.is_closed(name)]

        async def work(connection: Connection) -> tuple[int, timedelta | None, int]:
            plain = Queries(OnConnection(connection), self.qbe, self.qbq, self.qbs)
            async with connection.transaction():
                eligible = await plain.eligible_queued_work(asked)
                eta = await plain.next_deferred_eta(asked)
                return eligible, eta, await plain.queued_work(asked)

        eligible, self._eta, self._waiting = await self.driver.call(work)
        return eligible

    async def next_deferred_eta(self, entrypoints: list[types.QueueEntrypoint]) -> timedelta | None:
        return self._eta

    async def queued_work(self, entrypoints: list[types.QueueEntrypoint]) -> int:
        return self._waiting

    async def mark_job_as_cancelled(self, ids: list[types.JobId]) -> None:
        """As the console has it: the runs of these jobs are aborted, too."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                await jobs_aborted(connection, ids)
                await self.on(connection).drop(ids)

        await self.driver.call(work)

    async def drop(self, ids: list[types.JobId]) -> None:
        """Takes jobs out as canceled, and tells the hosts that run them."""
        nothing = [None] * len(ids)
        await self.driver.execute(
            self.qbq.build_log_job_query(), ids, ["canceled"] * len(ids), nothing
        )
        for first in range(0, len(ids), _IDS_TOLD):
            await self.notify_job_cancellation(ids[first : first + _IDS_TOLD])

    def on(self, connection: Connection) -> "_OwnedQueries":
        """The same, of nobody, on a connection and in its transaction."""
        return _OwnedQueries(OnConnection(connection), self.qbe, self.qbq, self.qbs)

    @property
    def _table(self) -> str:
        return self.qbq.settings.qualified.queue_table

    async def _on_owned(
        self, ids: list[types.JobId], change: Callable[[Queries, set[int]], Awaitable[None]]
    ) -> None:
        """Has `change` change jobs in a transaction, told which of `ids` are ours."""

        async def work(connection: Connection) -> None:
            async with connection.transaction():
                owned = await lock_owned(connection, self._table, ids, self.owner)
                plain = Queries(OnConnection(connection), self.qbe, self.qbq, self.qbs)
                await change(plain, owned)

        await self.driver.call(work)


async def _tell_cancelled(context: models.Context, cancelled: asyncio.Event) -> None:
    """Sets `cancelled` when the engine is told to cancel a job. The run is not in the scope itself:
    it has an end to write, which the scope would cancel again and again."""
    with context.cancellation:
        await asyncio.Event().wait()
    if context.cancellation.cancel_called:
        cancelled.set()


def _settings(schema: str) -> DBSettings:
    """All names are given here, because PgQueuer would take others from the environment, where
    variables such as FUNCTION or CHANNEL may mean something else."""
    return DBSettings(
        prefix="",
        db_schema=schema,
        channel=types.Channel(f"perpcache_{schema}"),
        function="fn_pgqueuer_changed",
        statistics_table="pgqueuer_statistics",
        queue_status_type="pgqueuer_status",
        queue_table="pgqueuer",
        queue_table_log="pgqueuer_log",
        trigger="tg_pgqueuer_changed",
        schedules_table="pgqueuer_schedules",
        durability=Durability.durable,
        widen_id=True,
    )


@contextlib.asynccontextmanager
async def open_console(database: Database, schema: str) -> "AsyncIterator[FastAPI]":
    """PgQueuer's console as an ASGI application: nothing guards it. It connects when first asked;
    its requests raise DatabaseUnavailable."""
    from fastapi import FastAPI
    from pgqueuer.web import create_web_router

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.pgq_queries = Engine(database, schema).queries(OnPool(database.pool))
    # Its pages then ask again by themselves; a stream would hold up the end of the process.
    app.include_router(create_web_router(include_sse=False))
    yield app
