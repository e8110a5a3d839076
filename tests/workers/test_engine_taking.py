"""Which jobs a host takes: at each step exactly those of a naive model, and never more at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast
from uuid import uuid4

import asyncpg
import pytest
from pgqueuer.domain import types
from pgqueuer.domain.models import Job

from database import Database
from stores.cold.pool import Connection
from stores.cold.workers.engine_taking import EngineTables, waiting
from stores.cold.workers.queues import FOR_EVER, set_concurrency, set_pause
from stores.cold.workers.rows import now_of
from stores.cold.workers.run_rows import add_run_now, set_job
from stores.cold.workers.runs import OpenRun
from tests.fixtures.signals import until
from workers.engine import Engine
from workers.engine_driver import OnConnection
from workers.engine_queries import LEASE, OwnedQueries

QUEUE: Final = "default"
SERVED: Final = {QUEUE: "q:default"}
TABLES: Final = EngineTables("engine.pgqueuer", "engine.pgqueuer_log")
MOST: Final = 50


def new_host() -> types.QueueManagerId:
    return types.QueueManagerId(uuid4())


class Desk:
    """One connection, and what hosts and operators do on it; a host is the id of its manager."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self.connection = connection
        self._engine = engine

    def queries(self, owner: types.QueueManagerId | None = None) -> OwnedQueries:
        found = self._engine.queries(OnConnection(self.connection))
        found.owner = owner
        return found

    async def sql(self, statement: str, *values: object) -> Any:
        return await self.connection.fetch(statement, *values)

    async def ask(self) -> int:
        async with self.connection.transaction():
            run = await add_run_now(
                self.connection, worker="w", why="part", queue=QUEUE, alone=False
            )
            await set_job(
                self.connection, run, await self._engine.enqueue(self.connection, run.id, QUEUE)
            )
        return run.id

    async def take(self, owner: types.QueueManagerId, *, most: int = MOST) -> list[int]:
        """The runs of the jobs that it got."""
        jobs = await self.queries(owner).dequeue(
            20,
            {SERVED[QUEUE]: None},  # type: ignore[dict-item]  # PgQueuer's rule, which is not used
            owner,
            most,
            LEASE,
        )
        return [int(job.payload or b"") for job in jobs]

    async def jobs(self, *runs: int) -> list[Job]:
        rows = await self.sql(
            f"SELECT * FROM {TABLES.jobs} WHERE dedupe_key = ANY($1)",  # noqa: S608
            [f"run:{run}" for run in runs],
        )
        by_run = {int(row["payload"]): row for row in rows}
        return [Job.model_validate(dict(by_run[run])) for run in runs if run in by_run]

    async def set_state(self, run: int, state: str) -> None:
        await self.sql("UPDATE worker_run SET state = $2 WHERE id = $1", run, state)

    async def end_job(self, owner: types.QueueManagerId, run: int) -> None:
        [job] = await self.jobs(run)
        await self.queries(owner).log_jobs([(job, "successful", None)])

    async def limit(self, concurrency: int | None) -> None:
        await set_concurrency(self.connection, QUEUE, concurrency)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[Engine]:
    database = Database(database_url)
    found = Engine(database, "engine")

    async def install(connection: Connection) -> None:
        await found.queries(OnConnection(connection)).apply_upgrade()

    await database.pool.write(install)
    await database.aclose()
    yield found


@pytest.fixture
async def desks(database_url: str, engine: Engine) -> AsyncIterator[tuple[Desk, Desk]]:
    """Two connections."""
    one, other = [await asyncpg.connect(database_url, timeout=30) for _ in range(2)]
    yield Desk(cast("Connection", one), engine), Desk(cast("Connection", other), engine)
    for connection in (one, other):
        connection.terminate()


@dataclass
class Known:
    """What the model knows of a run: who has its job (None: it waits, or is `lost`)."""

    run: int
    job: int
    owner: types.QueueManagerId | None = None
    lost: bool = False
    running: bool = False  # by worker_run
    dead: bool = False  # its host gives no sign

    @property
    def has_place(self) -> bool:
        return self.running or self.owner is not None


class RandomSteps:
    """Steps of hosts and operators on a queue, and the model: hosts take the jobs of dead hosts,
    the jobs made anew of runs that go on, and then the oldest while there is room."""

    def __init__(self, desk: Desk, chance: random.Random) -> None:
        self._desk, self._chance = desk, chance
        self._owners = [new_host() for _ in range(3)]
        self.known: dict[int, Known] = {}
        self.concurrency: int | None = None
        self.paused = False
        self.taken = 0

    def _some(self, **what: object) -> list[Known]:
        """One run of which all that is so; none where there is none. `owned`: its job is taken."""
        owned = what.pop("owned", None)
        found = [
            known
            for known in self.known.values()
            if all(getattr(known, name) == value for name, value in what.items())
            and owned in (None, known.owner is not None)
        ]
        return [self._chance.choice(found)] if found else []

    async def ask(self) -> None:
        if len(self.known) < 12:
            run = await self._desk.ask()
            [job] = await self._desk.jobs(run)
            self.known[run] = Known(run, job.id)

    async def limit(self) -> None:
        self.concurrency = self._chance.choice([None, 1, 2, 3, 5])
        await self._desk.limit(self.concurrency)

    async def pause(self) -> None:
        self.paused = self._chance.random() < 0.1
        await set_pause(self._desk.connection, QUEUE, FOR_EVER if self.paused else None)

    async def take(self) -> None:
        known, owner = self.known.values(), self._chance.choice(self._owners)
        waits = [k for k in known if k.owner is None and not k.lost]
        fresh = sorted((k for k in waits if not k.running), key=lambda k: k.job)
        room = len(fresh)
        if self.concurrency is not None:
            room = max(self.concurrency - sum(k.has_place for k in known), 0)
        expected = [k for k in known if k.dead] + [k for k in waits if k.running] + fresh[:room]
        told = await waiting(self._desk.connection, TABLES, SERVED)
        assert told.next_s is None
        if self.paused:
            assert not told.takeable
            expected = []
        elif room:
            assert told.takeable == bool(waits)
        assert sorted(await self._desk.take(owner)) == sorted(k.run for k in expected)
        for k in expected:
            k.owner, k.dead = owner, False
        self.taken += len(expected)

    async def begin(self) -> None:
        for k in self._some(running=False, owned=True):
            k.running = True
            await self._desk.set_state(k.run, "running")

    async def end(self) -> None:
        """Of its job only some steps later, mostly."""
        for k in self._some(running=True):
            k.running = False
            await self._desk.set_state(k.run, "complete")
            if k.owner is None:
                await self._desk.sql("DELETE FROM engine.pgqueuer WHERE id = $1", k.job)
                del self.known[k.run]

    async def end_job(self) -> None:
        for k in self._some(running=False, owned=True):
            assert k.owner is not None
            await self._desk.end_job(k.owner, k.run)
            await self._desk.set_state(k.run, "complete")
            del self.known[k.run]

    async def again(self) -> None:
        for k in self._some(owned=True):
            await self._desk.set_state(k.run, "queued")
            [job] = await self._desk.jobs(k.run)
            await self._desk.queries(k.owner).retry_job(job, timedelta(0), None)
            k.owner, k.running, k.dead = None, False, False

    async def lose(self) -> None:
        for k in self._some(running=True, lost=False):
            await self._desk.sql("DELETE FROM engine.pgqueuer WHERE id = $1", k.job)
            k.owner, k.lost, k.dead = None, True, False

    async def make_anew(self) -> None:
        for k in self._some(lost=True):
            run = OpenRun(k.run, QUEUE, "running")
            [(_, k.job)] = await self._desk.queries().enqueue_again([run])
            at_once = "UPDATE engine.pgqueuer SET execute_after = now() WHERE id = $1"
            await self._desk.sql(at_once, k.job)
            k.lost = False

    async def die(self) -> None:
        for k in self._some(owned=True):
            gone = "UPDATE engine.pgqueuer SET heartbeat = now() - $2::interval WHERE id = $1"
            await self._desk.sql(gone, k.job, 2 * LEASE)
            k.dead = True

    async def abort(self) -> None:
        for k in self._some(lost=False):
            k.running = False
            await self._desk.set_state(k.run, "aborted")
            await self._desk.queries().drop([types.JobId(k.job)])
            if k.owner is None:
                del self.known[k.run]


async def test_hosts_take_what_a_naive_model_says_in_a_thousand_random_steps(
    desks: tuple[Desk, Desk],
) -> None:
    chance = random.Random(17)  # noqa: S311
    steps = RandomSteps(desks[0], chance)
    often = (steps.ask, steps.take, steps.begin)
    seldom = (steps.die, steps.abort, steps.pause)
    other = (steps.end, steps.end_job, steps.again, steps.lose, steps.make_anew, steps.limit)
    for number in range(1000):
        step = chance.choice(often * 6 + other * 2 + seldom)
        try:
            await step()
        except AssertionError as error:
            told = f"step {number}: {step.__name__}, {steps.concurrency}: {steps.known}"
            raise AssertionError(told) from error
    assert steps.taken > 100


async def test_two_hosts_at_the_same_instant_do_not_share_a_place(
    desks: tuple[Desk, Desk],
) -> None:
    """The first has taken, and its transaction is open yet: the second does not see it."""
    one, other = desks
    await one.limit(1)
    first = await one.ask()
    transaction = one.connection.transaction()
    await transaction.start()
    assert await one.take(new_host()) == [first]
    assert await other.take(new_host()) == []  # the same one is in its view, and locked

    # Then another one is before it, which nobody has locked: the second wants the same seat.
    waits = await other.ask()
    await other.sql("UPDATE engine.pgqueuer SET priority = 1 WHERE payload = $1", b"%d" % waits)
    second = asyncio.create_task(other.take(new_host()))
    its_pid = other.connection.get_server_pid()

    async def it_waits() -> bool:
        query = "SELECT pg_blocking_pids($1) <> '{}'"
        return bool(await one.connection.fetchval(query, its_pid))

    await until(it_waits)
    await transaction.commit()
    assert await second == []
    assert await other.take(new_host()) == []
    await one.set_state(first, "complete")
    await one.sql("DELETE FROM engine.pgqueuer WHERE payload = $1", b"%d" % first)
    assert await other.take(new_host()) == [waits]


async def test_a_retry_that_had_a_seat_is_taken_where_the_limit_is_gone(
    desks: tuple[Desk, Desk],
) -> None:
    """PgQueuer leaves the seat with the job that waits, and would not take another job then, as
    long as the seat is somebody else's."""
    desk, _ = desks
    owner = new_host()
    await desk.limit(1)
    retried = await desk.ask()
    assert await desk.take(owner) == [retried]
    [job] = await desk.jobs(retried)
    assert job.slot == 0
    await desk.queries(owner).retry_job(job, timedelta(hours=1), None)
    sits = await desk.ask()
    assert await desk.take(owner) == [sits]
    await desk.sql("UPDATE engine.pgqueuer SET execute_after = now() WHERE id = $1", job.id)
    await desk.limit(None)
    assert await desk.take(owner) == [retried]
    assert [job.slot for job in await desk.jobs(retried, sits)] == [None, 0]


async def test_a_run_whose_job_was_made_anew_takes_no_room_of_those_that_wait(
    desks: tuple[Desk, Desk],
) -> None:
    desk, _ = desks
    await desk.limit(2)
    goes_on = await desk.ask()
    await desk.set_state(goes_on, "running")
    waits = [await desk.ask() for _ in range(2)]
    assert await desk.take(new_host()) == [goes_on, waits[0]]


async def test_a_host_takes_so_many_that_it_has_no_more_than_it_may(
    desks: tuple[Desk, Desk],
) -> None:
    desk, _ = desks
    runs = [await desk.ask() for _ in range(7)]
    one, other = new_host(), new_host()
    assert await desk.take(one, most=3) == runs[:3]
    assert await desk.take(one, most=3) == []
    await desk.end_job(one, runs[1])
    assert await desk.take(one, most=3) == runs[3:4]
    await desk.limit(6)
    assert await desk.take(other, most=30) == runs[4:]


async def test_the_end_of_a_pause_and_the_next_due_job_are_known(
    desks: tuple[Desk, Desk], engine: Engine
) -> None:
    desk, _ = desks

    async def next_s() -> float | None:
        told = await waiting(desk.connection, TABLES, SERVED)
        assert not told.takeable
        return told.next_s

    assert await next_s() is None
    now_ms = await now_of(desk.connection)
    await set_pause(desk.connection, QUEUE, now_ms + 60_000)
    await engine.enqueue(desk.connection, 99, QUEUE, now_ms + 1000)
    found = await next_s()
    assert found is not None and 0 < found <= 60 and found != int(found)
    await set_pause(desk.connection, QUEUE, FOR_EVER)
    assert await next_s() is None
    await set_pause(desk.connection, QUEUE, None)
    await desk.sql("UPDATE engine.pgqueuer SET execute_after = now() + '1 hour'")
    found = await next_s()
    assert found is not None and 3500 < found <= 3600
    await desk.limit(1)
    await desk.set_state(await desk.ask(), "running")
    assert await next_s() is None  # the queue is full, whatever is due
