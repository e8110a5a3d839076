"""The rows of workers: how many short runs a second go through tables, engine and wrapper."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries

from benchmarks.benchmark_run import BenchmarkRun, open_stores
from benchmarks.report import Row, Sample, Target
from database import Database
from logging_setup import configure_logging
from stores.cold.pool import Connection
from stores.cold.workers.run_rows import add_run_now, set_job
from workers.definition import DEFAULT_QUEUE, WorkerDefinition
from workers.engine import AT_ONCE, Engine
from workers.run_handle import RunHandle
from workers.runs import Runs
from workers.state import WorkerStates

PART: Final = "workers"
_ASKING: Final = 3  # at once, as API processes do
_OPEN: Final = "SELECT count(*) FROM worker_run WHERE state IN ('queued', 'running')"
_INSTALLED: Final = "SELECT to_regclass('engine.pgqueuer_log') IS NOT NULL"
_WORKER: Final = "short"


class _Nothing:
    """A maker of contexts whose making costs nothing: the seam is measured, not HTTP clients."""

    @asynccontextmanager
    async def context(
        self, definition: WorkerDefinition, handle: RunHandle, *, stop: Any = None
    ) -> AsyncIterator[RunHandle]:
        yield handle


async def measure(bench: BenchmarkRun) -> None:
    """Measures short runs and adds their rows to `bench`."""
    configure_logging("WARNING", "console")  # two lines of each run would be measured, too
    count = bench.sizes.short_runs
    bench.say(f"workers: {count} short runs")
    beside, waiting = [], []
    async with open_stores(bench.folder / "workers") as stores:
        database = Database(stores.database_url)
        try:
            await database.open()
            states = WorkerStates(stores.store, "benchmarks")
            for _ in range(bench.sizes.runs):
                alone = await _pgqueuer_alone(stores.database_url, count)
                found = await _through_the_seam(database, states, count)
                waiting.append(Sample(found[1]))
                beside.append(Sample(found[0], alone))
        finally:
            await database.aclose()
    what = "short runs that wait: taken, begun, ended, and their state told"
    note = "by one host, whose rows, jobs and states are real; the function returns at once"
    bench.add(Row(PART, what, "", "runs/s", waiting, Target(">=", 500, "runs/s"), note))
    what = "short runs while they are asked for, each in a transaction of its own"
    note = f"{_ASKING} ask at once, in the same process"
    against = "PgQueuer alone: jobs with nothing to do, enqueued one by one by as many"
    bench.add(Row(PART, what, against, "runs/s", beside, note=note))


async def _through_the_seam(
    database: Database, states: WorkerStates, count: int
) -> tuple[float, float]:
    """Runs a second: while they are asked for, and when all of them wait already."""
    done = asyncio.Event()
    left = count

    async def short(_: RunHandle) -> int:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()
        return left

    definition = WorkerDefinition(name=_WORKER, kind="schedule", function=short, place="here:1")
    runs = Runs(
        *({_WORKER: definition}, database.worker_runs, _Nothing()),
        host="benchmarks",
        egress="default",
        states=states,
    )
    engine = Engine(database, "engine")
    async with _host(engine, runs):
        await _until(database, _INSTALLED, True)
        began_s = time.perf_counter()
        await _ask(database, engine, count)
        await done.wait()
        await _until(database, _OPEN, False)
        while_asking = count / (time.perf_counter() - began_s)
    left = count
    done.clear()
    await _ask(database, engine, count)
    began_s = time.perf_counter()
    async with _host(engine, runs):
        await done.wait()
        await _until(database, _OPEN, False)
        return while_asking, count / (time.perf_counter() - began_s)


@asynccontextmanager
async def _host(engine: Engine, runs: Runs) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run(stop, [DEFAULT_QUEUE], runs))
        group.create_task(runs.keep(stop))
        try:
            yield
        finally:
            stop.set()


async def _until(database: Database, question: str, answer: bool) -> None:
    async def asked(connection: Connection) -> bool:
        return bool(await connection.fetchval(question))

    while True:
        if await database.pool.read(asked) is answer:
            return
        await asyncio.sleep(0.02)


async def _ask(database: Database, engine: Engine, count: int) -> None:
    async def ask(number: int) -> None:
        for _ in range(number, count, _ASKING):
            await database.workers.in_transaction(one)

    async def one(connection: Connection) -> None:
        run = await add_run_now(
            connection, worker=_WORKER, why="force", queue=DEFAULT_QUEUE, alone=False
        )
        await set_job(connection, run, await engine.enqueue(connection, run.id, run.queue))

    async with asyncio.TaskGroup() as group:
        for number in range(_ASKING):
            group.create_task(ask(number))


async def _pgqueuer_alone(url: str, count: int) -> float:
    """Jobs a second of PgQueuer with a handler that does nothing, in its own tables."""
    connections = [await asyncpg.connect(url, timeout=10) for _ in range(_ASKING + 1)]
    try:
        queries = [Queries(AsyncpgDriver(connection)) for connection in connections]
        if not await queries[0].schema_is_installed():
            await queries[0].install()
        return await _enqueued_and_done(queries, count)
    finally:
        for connection in connections:
            await connection.close()


async def _enqueued_and_done(queries: Sequence[Queries], count: int) -> float:
    manager = QueueManager(queries[0])
    done = asyncio.Event()
    left = count

    @manager.entrypoint(_WORKER)
    async def nothing(_: Job) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    async def enqueue(own: Queries, number: int) -> None:
        for _ in range(number, count, _ASKING):
            await own.enqueue(_WORKER, b"1")

    async with asyncio.TaskGroup() as group:
        group.create_task(manager.run(batch_size=16, max_concurrent_tasks=AT_ONCE))
        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as asking:
            for number, own in enumerate(queries[1:]):
                asking.create_task(enqueue(own, number))
        await done.wait()
        rate = count / (time.perf_counter() - began_s)
        manager.shutdown.set()
    return rate
