"""Hosts of workers as processes of their own, which a test kills, freezes, wakes and ends."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from database import Database
from stores.cold.workers.run_rows import RunRow, add_run_now, set_job
from tests.fixtures.forked import ForkedProgram
from tests.fixtures.signals import until, until_true
from tests.workers import host_program
from workers.control import Control
from workers.control_errors import UnknownWorker
from workers.lazy_engine import LazyEngine

_ROOT = Path(__file__).resolve().parents[2]


class Host:
    """One process."""

    def __init__(self, process: asyncio.subprocess.Process | ForkedProgram) -> None:
        self._process = process
        self.pid = process.pid
        self.lines: deque[str] = deque(maxlen=400)
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.signal(signal.SIGCONT)

    @property
    def lives(self) -> bool:
        return self._process.returncode is None

    async def stop(self, within_s: float = 60) -> int:
        """Ends it as an operator does; its exit code."""
        if self.lives:
            self.wake()
            self.signal(signal.SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), within_s)
        await self._reading
        return code

    async def ended(self) -> int:
        return await self._process.wait()

    def said(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]


class Fleet:
    """Hosts on one database and hot store, and what a test asks of them and reads of the tables."""

    def __init__(self, database_url: str, redis_url: str, data: Path) -> None:
        self._environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": str(data),
            "HTTP_PROXY": "",
        }
        self._url = database_url
        self.database = Database(database_url)
        engine = self._engine = LazyEngine(self.database, "engine")
        self.control = Control(self.database, enqueue=engine.enqueue, cancel=engine.cancel)
        self.hosts: list[Host] = []

    async def prepare(self) -> None:
        await self.database.open()
        await self.execute(host_program.EFFECTS)

    async def start(self, **settings: str) -> Host:
        environment = {**os.environ, **self._environment, **settings}
        program = ForkedProgram(host_program.run, (), environment, _ROOT)
        await program.open()
        self.hosts.append(Host(program))
        return self.hosts[-1]

    async def start_program(self, *program: str, folder: Path, settings: Mapping[str, str]) -> Host:
        """A Python program in that folder, with the stores of this fleet."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *program),
            cwd=folder,
            env={**os.environ, **self._environment, **settings},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=2**20,
        )
        self.hosts.append(Host(process))
        return self.hosts[-1]

    async def start_ready(self, **settings: str) -> Host:
        """A host that takes runs already."""
        host = await self.start(**settings)
        await until_true(lambda: host.said("engine_ready"))
        return host

    async def execute(self, statement: str, *words: Any) -> None:
        async def run(connection: Any) -> None:
            await connection.execute(statement, *words)

        await self.database.pool.write(run)

    async def rows(self, statement: str, *words: Any) -> list[asyncpg.Record]:
        async def read(connection: Any) -> list[asyncpg.Record]:
            found: list[asyncpg.Record] = await connection.fetch(statement, *words)
            return found

        return await self.database.pool.read(read)

    async def effects(self, run_id: int, what: str) -> list[asyncpg.Record]:
        """What attempts of a run did, in order."""
        return await self.rows(
            "SELECT at, attempt, pid FROM effects WHERE run = $1 AND what = $2 ORDER BY at",
            *(run_id, what),
        )

    async def force(self, worker: str, input: Mapping[str, Any] | None = None) -> int:
        """Asks for a run, once a host has synced the rows and installed the engine; its id."""

        async def ready() -> bool:
            found = await self.rows("SELECT to_regclass('engine.pgqueuer') AS there")
            return found[0]["there"] is not None

        await until(ready, details=self.told)
        try:
            return (await self.control.force(worker, "test", input)).run.id
        except UnknownWorker as error:
            raise AssertionError(self.told()) from error

    async def add(self, worker: str, input: Mapping[str, Any] | None = None) -> int:
        """Asks for a run beside those of the worker that wait; its id. The engine is installed."""

        async def work(connection: Any) -> int:
            async with connection.transaction():
                run = await add_run_now(
                    connection, worker=worker, why="part", queue="default", input=input, alone=False
                )
                job_id = await self._engine.enqueue(connection, run.id, run.queue)
                await set_job(connection, run, job_id)
            return run.id

        return await self.database.pool.write(work)

    async def run(self, run_id: int) -> RunRow:
        return await self.control.run(run_id)

    async def until_state(self, run_id: int, *states: str, within_s: float = 60) -> RunRow:
        async def look() -> RunRow | None:
            found = await self.run(run_id)
            return found if found.state in states else None

        return await until(look, within_s, self.told)

    async def until_began(self, run_id: int, attempt: int = 1) -> int:
        """Waits for this attempt of a slow worker; the pid of its host."""

        async def look() -> int | None:
            for effect in await self.effects(run_id, "began"):
                if effect["attempt"] == attempt:
                    return int(effect["pid"])
            return None

        return await until(look, details=self.told)

    def host_of(self, pid: int) -> Host:
        return next(host for host in self.hosts if host.pid == pid)

    def told(self) -> str:
        """What the hosts said, for failures."""
        return "\n".join(f"[{host.pid}] {line}" for host in self.hosts for line in host.lines)

    async def aclose(self) -> None:
        for host in self.hosts:
            if host.lives:
                host.kill()
        for host in self.hosts:
            await host.ended()
        await self.database.aclose()


StartFleet = Callable[[], Awaitable[Fleet]]


@asynccontextmanager
async def fleet_on(database_url: str, redis_url: str, data: Path) -> AsyncIterator[Fleet]:
    """A fleet without hosts yet; all are killed at the end."""
    fleet = Fleet(database_url, redis_url, data)
    try:
        await fleet.prepare()
        yield fleet
    finally:
        await fleet.aclose()
