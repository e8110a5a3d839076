"""WorkerHost: what a process does for workers: it syncs rows, then ticks, takes, reconciles."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from config import Settings
from database import Database, DatabaseUnavailable
from logging_setup import OutageLog
from timing.backoff import Backoff, stop_or
from workers.changes import Changes
from workers.configuration import Configuration
from workers.databases.open_databases import Databases
from workers.definition import WrongWorkers
from workers.engine import Engine
from workers.parts import Parts
from workers.registry import Registry
from workers.runs import Runs
from workers.seam import served_queues
from workers.state import LastRun, WorkerStates
from workers.streams.reconciler import Reconciler
from workers.sync import sync
from workers.ticker import Ticker

_FIRST_RETRY_S: Final = 0.2
_SLOWEST_RETRY_S: Final = 5.0
_OLD_PARTS_EVERY_S: Final = 900.0
_log = structlog.get_logger(__name__)


class RunLogWriter(Protocol):
    """Writes the lines of runs into the execution log; see workers/run_log.py."""

    async def flush(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True, slots=True)
class Running:
    """What runs workers in a process that runs any; `log` takes their lines."""

    runs: Runs
    reconciler: Reconciler
    states: WorkerStates
    log: RunLogWriter | None = None
    databases: Databases | None = None
    configuration: Configuration | None = None


@dataclass(frozen=True, slots=True)
class HostParts:
    """What a host is made of; commands/workers_part.py makes it. `ticker`: None in a process that
    only runs; `running`: None in one that only ticks."""

    settings: Settings
    registry: Registry
    database: Database
    engine: Engine
    changes: Changes
    ticker: Ticker | None
    running: Running | None


class WorkerHost:
    """The workers' part of one process."""

    def __init__(self, parts: HostParts) -> None:
        self._parts = parts
        self._synced = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`, and hands back then what runs. Failures of stores, and of workers,
        are never raised. Raises WrongWorkers for schedules that cannot be."""
        parts = self._parts
        parts.changes.on("queue", parts.engine.look)
        async with asyncio.TaskGroup() as group:
            # Refreshes go on in a process that starts while PostgreSQL is away: nothing waits.
            group.create_task(parts.changes.run(stop), name="changes")
            if parts.ticker is not None:
                group.create_task(parts.ticker.run(stop), name="ticker")
            group.create_task(self._sync(stop), name="sync")
            if parts.running is not None:
                group.create_task(self._end_old_parts(stop), name="old-parts")
                await self._run_all(parts.running, stop)

    async def _run_all(self, running: Running, stop: asyncio.Event) -> None:
        """Runs workers until `stop`; their lines are written until the last one has ended."""
        ended = asyncio.Event()
        async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as group:
            if running.databases is not None:
                await opened.enter_async_context(running.databases.opened())
            group.create_task(running.runs.keep(ended), name="claims")
            if running.log is not None:
                group.create_task(running.log.flush(ended), name="run-log")
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(running.runs, stop), name="carry")
                    both.create_task(running.reconciler.run(stop), name="reconciler")
            finally:
                ended.set()

    async def _sync(self, stop: asyncio.Event) -> None:
        """Brings the rows up to what the code says, and the hot store to what rows say."""
        parts = self._parts
        backoff = Backoff(_FIRST_RETRY_S, _SLOWEST_RETRY_S)
        outage = OutageLog(_log, "workers_not_synced", "workers_synced_again")
        while not stop.is_set():
            try:
                await sync(parts.database, parts.registry, parts.settings)
                await self._check_configuration()
                last = await parts.database.worker_streams.last_runs()
            except DatabaseUnavailable as error:
                outage.failed(error)
                await stop_or(stop, backoff.pause_s())
                continue
            outage.recovered()
            self._synced.set()
            if parts.running is not None:
                await parts.running.states.rebuild(
                    [
                        LastRun(
                            *(run.worker, run.run, run.state),
                            started_at_ms=run.started_at_ms,
                            result=run.result,
                            error=run.error,
                            host=run.host,
                        )
                        for run in last
                    ]
                )
            return

    async def _check_configuration(self) -> None:
        """Raises WrongWorkers for required keys that have no value on any level."""
        running = self._parts.running
        if running is not None and running.configuration is not None:
            definitions = self._parts.registry.definitions.values()
            if lines := await running.configuration.wrong_at_start(definitions):
                raise WrongWorkers(lines)

    async def _carry(self, runs: Runs, stop: asyncio.Event) -> None:
        await _either(self._synced, stop)
        await self._parts.engine.run(stop, served_queues(self._parts.settings), runs)

    async def _end_old_parts(self, stop: asyncio.Event) -> None:
        """Ends, now and then, the parts of jobs whose askers and addresses are gone."""
        database, engine = self._parts.database, self._parts.engine
        parts = Parts(database, enqueue=engine.enqueue, cancel=engine.cancel)
        await _either(self._synced, stop)
        while not stop.is_set():
            with contextlib.suppress(DatabaseUnavailable):  # told by those who run
                await parts.abandon_old()
            await stop_or(stop, _OLD_PARTS_EVERY_S)


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
