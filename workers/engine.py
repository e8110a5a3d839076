"""Engine: PgQueuer, which carries runs to hosts; only this and engine_queries.py know it.

What travels is a run's id; all truth is in our tables, so PgQueuer's may be dropped at any time.
What it does otherwise than we need is put right here, each with the test that shows why:
- Heartbeats, ends and retries are by job id alone: a host that was frozen and wakes would end the
  job of the host that has taken it over. OwnedQueries asks whose it is first.
- A job that was lost and made anew is anybody's, although its run goes on: who runs it takes it
  first (OwnedQueries.dequeue).
- Its manager ends when PostgreSQL restarts, and waits for the running jobs before it says so. The
  driver here waits for the next connection instead; and a run goes on beside its manager, which
  does not wait for it where its tables are gone.
- It looks for the jobs of dead hosts every 30 s: LOOK_S.
- Limits of queues hold by what each host knows of them, and places of lost jobs are free: a job is
  taken by the rules and the runs that our tables have in that moment (engine_queries.py).
- A full or paused queue with waiting jobs would be asked for ten times a second.
- What is cancelled has no place from then on, although its function has yet to end: its job stays
  until then (OwnedQueries.drop).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import asyncpg
import structlog
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain import errors, models, types
from pgqueuer.domain.settings import DBSettings, Durability

from database import Database
from logging_setup import OutageLog
from stores.cold.lone_connection import LoneConnection
from stores.cold.pool import Connection, DatabaseUnavailable
from stores.cold.workers.engine_jobs import forget_log, jobs_of, server_ms
from stores.cold.workers.runs import note_jobs
from timing.backoff import Backoff, stop_or
from workers.engine_driver import EngineDriver, OnConnection, OnLoneConnection, OnPool
from workers.engine_queries import LEASE, LEASE_S, OwnedQueries, queries_on
from workers.job_names import entrypoint_of, key_of
from workers.seam import Again, Runner

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
        self._driver: OnLoneConnection | None = None
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

    async def cancel(self, connection: Connection, run_ids: Sequence[int]) -> None:
        """As seam.Cancel."""
        table = self._settings.qualified.queue_table
        if jobs := await jobs_of(connection, table, [*map(key_of, run_ids)]):
            queries = self.queries(OnConnection(connection))
            await queries.drop([types.JobId(job) for job in jobs])

    def look(self) -> None:
        """Looks for runs now: what holds for queues has changed."""
        if self._driver is not None:
            self._driver.wake()

    async def run(self, stop: asyncio.Event, queues: Sequence[str], runner: Runner) -> None:
        """Takes the runs of `queues` until `stop`, whatever happens to PostgreSQL meanwhile, and
        hands back then what still runs."""
        connection = self._database.lone_connection("perpcache-engine")
        driver = OnLoneConnection(connection, self._settings.channel, LEASE_S, stop)
        self._driver = driver
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
            self._driver = None
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
        table = self._settings.qualified.queue_table
        lacking = await self._database.worker_runs.without_job(table)
        if not lacking:
            return 0

        async def write(connection: Connection) -> int:
            async with connection.transaction():
                made = await self.queries(OnConnection(connection)).enqueue_again(lacking)
                await note_jobs(connection, table, [run.run_id for run in lacking])
            return len(made)

        made = await self._database.pool.write(write)
        _log.info("runs_enqueued_again", runs=made)
        return made

    async def _manage(
        self, driver: OnLoneConnection, queues: Sequence[str], stop: asyncio.Event, runner: Runner
    ) -> None:
        """Runs one manager until `stop`, or until its tables are not as it needs them. Raises what
        has broken it."""
        driver.begin()
        queries = self.queries(driver)
        manager = QueueManager(queries, self._settings.channel)
        queries.owner, queries.claims = manager.queue_manager_id, lambda: runner.claims
        for queue in queues:
            manager.entrypoint(entrypoint_of(queue), accepts_context=True)(
                self._taker(stop, runner, driver.broken)
            )
        _log.info("engine_ready", queues=list(queues))
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._run_manager(manager), name="engine"),
            asyncio.create_task(self._upkeep(driver), name="engine-upkeep"),
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
            for wait in waits:
                wait.cancel()
            # A manager takes several cancellations for itself where PostgreSQL does not answer.
            ended, _ = await asyncio.wait(waits, timeout=_END_S if stop.is_set() else None)
            for wait in ended:
                _ = wait.cancelled() or wait.exception()  # seen: the first one is raised

    async def _run_manager(self, manager: QueueManager) -> None:
        await manager.run(
            dequeue_timeout=timedelta(seconds=LOOK_S),
            batch_size=_BATCH,
            max_concurrent_tasks=AT_ONCE,
            heartbeat_timeout=LEASE,
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
                    raise errors.RetryRequested(LEASE, "what the manager had is lost")
                again = await asyncio.shield(running)
            finally:
                telling.cancel()
                await asyncio.gather(telling, return_exceptions=True)
            if again is not None:
                delay = timedelta(seconds=again.after_s)
                raise errors.RetryRequested(delay, str(again.because or "")) from again.because

        return take

    async def _upkeep(self, driver: EngineDriver) -> None:
        """Enqueues runs again that lost their jobs; and cuts the engine's log, which it does not do
        itself."""
        forgot_s = time.monotonic()
        while True:
            await asyncio.sleep(_RESTORE_EVERY_S)
            with contextlib.suppress(DatabaseUnavailable):  # told by those who run
                await self.restore()
            if time.monotonic() - forgot_s >= _FORGET_EVERY_S:
                forgot_s = time.monotonic()
                await self.forget(driver)

    async def forget(self, driver: EngineDriver) -> None:
        """Cuts the engine's log and its counts, which it keeps for ever."""
        names = self._settings.qualified
        await driver.call(lambda c: forget_log(c, names.queue_table_log, names.statistics_table))

    def queries(self, driver: EngineDriver) -> OwnedQueries:
        return queries_on(driver, self._settings)


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
