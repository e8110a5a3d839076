"""The workers' part of a process: registry and host, composed from Settings and the parts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from addresses.environment import environment_of
from api.parts import Parts
from commands.composition import holder_name
from config import Settings, SettingsError
from jobs.agent import built_in
from metrics.workers import WorkersMetrics
from workers.asking import Asker
from workers.changes import Changes
from workers.configuration import Configuration
from workers.context import ContextMaker
from workers.databases.open_databases import Databases
from workers.definition import WorkerDefinition, WrongWorkers
from workers.engine import Engine
from workers.host import HostParts, Running, WorkerHost
from workers.refresh import RefreshSchedules
from workers.registry import Registry, load_registry
from workers.run_log import RunLog
from workers.runs import Runs
from workers.state import WorkerStates
from workers.streams.reconciler import Reconciler
from workers.ticker import Ticker

if TYPE_CHECKING:
    from jobs.context import JobContext


async def run_workers(context: "JobContext", stop: asyncio.Event, *, ticks: bool = True) -> None:
    """Runs the workers of this process until `stop`; with `ticks` it fires schedules, too. Raises
    WrongWorkers before it connects to anything."""
    parts = Parts(context.store, context.cache, context.queue, context.database)
    metrics = WorkersMetrics(context.metrics.registry)
    settings = context.settings
    # Imported here: a process that only ticks loads no numeric packages.
    from jobs.parts import part_workers

    workers = [*built_in(settings, context.database), *part_workers(context)]
    host = make_host(settings, parts, workers, metrics=metrics, ticks=ticks)
    await host.run(stop)


async def run_beat(settings: Settings, parts: Parts, stop: asyncio.Event) -> None:
    """Fires schedules until `stop`, and runs nothing. Raises WrongWorkers."""
    workers = built_in(settings, parts.database)
    await make_host(settings, parts, workers, runs=False).run(stop)


def check_workers(settings: Settings) -> None:
    """Raises SettingsError, with a line for each mistake, where the workers of WORKERS, and of
    installed packages, cannot be used."""
    try:
        load_registry(settings, ())
    except WrongWorkers as error:
        raise SettingsError(error.lines) from None


@contextlib.asynccontextmanager
async def load_workers(
    settings: Settings, parts: Parts
) -> AsyncIterator[tuple[Registry, ContextMaker]]:
    """All workers, and what makes the contexts of their runs, without a host. Raises
    WrongWorkers."""
    registry = load_registry(settings, built_in(settings, parts.database))
    environment = environment_of()
    asker = Asker(parts.queue, parts.cache, tuple(str(each) for each in settings.timeframes))
    configuration = Configuration(parts.database.worker_config, environment)
    databases = Databases(registry.databases.values(), environment, parts.database.dsn)
    if lines := databases.wrong():
        raise WrongWorkers(lines)
    async with databases.opened():
        yield registry, ContextMaker(settings, parts.store, asker, configuration, databases)


def make_host(
    settings: Settings,
    parts: Parts,
    built_in: Sequence[WorkerDefinition],
    *,
    metrics: WorkersMetrics | None = None,
    runs: bool = True,
    ticks: bool = True,
) -> WorkerHost:
    """The workers of this process, `built_in` ones and those of WORKERS, and what runs and fires
    them. Nothing is connected to yet. Raises WrongWorkers."""
    registry = load_registry(settings, built_in)
    store, database, host = parts.store, parts.database, holder_name()
    engine = Engine(database, settings.pgqueuer_schema)
    changes = Changes(database)
    asker = Asker(parts.queue, parts.cache, tuple(str(each) for each in settings.timeframes))
    ticker = None
    if ticks:
        ticker = Ticker(
            *(database, registry.definitions, engine.enqueue, changes),
            refreshes=RefreshSchedules(store, asker.ask),
        )
    running = None
    if runs:
        environment = environment_of()
        configuration = Configuration(database.worker_config, environment)
        changes.on("config", configuration.forget)
        databases = Databases(registry.databases.values(), environment, database.dsn)
        if lines := databases.wrong():
            raise WrongWorkers(lines)
        maker = ContextMaker(settings, store, asker, configuration, databases)
        states = WorkerStates(store, host)
        running = Running(
            runs=Runs(
                *(registry.definitions, database.worker_runs, maker),
                host=host,
                egress=settings.egress_id,
                states=states,
                metrics=metrics,
            ),
            reconciler=Reconciler(
                store,
                database,
                registry,
                maker,
                settings=settings,
                host=host,
                changes=changes,
                states=states,
                metrics=metrics,
            ),
            states=states,
            log=RunLog(database.execution_log, host),
            databases=databases,
            configuration=configuration,
        )
        if metrics is not None:
            schedules = [
                name for name, found in registry.definitions.items() if found.kind == "schedule"
            ]
            metrics.watch(schedules, ())
    return WorkerHost(HostParts(settings, registry, database, engine, changes, ticker, running))
