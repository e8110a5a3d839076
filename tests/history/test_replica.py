"""History read from a real streaming replica, made by the programs of the embedded PostgreSQL."""

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import asyncpg
import numpy as np
import pytest

from database import Database, SeriesKey, SeriesRows
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.cold.pool import Connection
from stores.embedded.folders import Account, make_folder, our_account, unprivileged
from stores.embedded.postgres_programs import can_run, installed_trees, program_files
from stores.hot.beats import beat
from tests.fixtures.api import ServedApi, StartApi, ask
from tests.fixtures.postgres import quick_folder
from timing.clock import now_ms

pytestmark = pytest.mark.slow

START_MS: Final = 1_764_547_200_000
COUNT: Final = 30  # enough for a chunk
ROUTE: Final = "/api/historical/candles/binance/BTCUSDT?timeframe=1h&columns=open"
SETTINGS: Final = (
    *("listen_addresses=", "wal_level=replica", "max_wal_senders=4", "max_connections=32"),
    *("dynamic_shared_memory_type=mmap", "shared_buffers=16MB", "hot_standby=on"),
    *("max_standby_streaming_delay=100ms", "wal_receiver_status_interval=1s"),
)


@dataclass
class Server:
    """A PostgreSQL server in a folder of its own, and its address."""

    programs: Path
    account: Account
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"postgresql://perpcache@/postgres?host={self.folder}"

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - our own program and arguments
            [self.programs / program, *arguments],
            cwd="/",
            check=True,
            capture_output=True,
            timeout=60,
            **self.account.run_options(),
        )

    def start(self) -> None:
        options = [word for setting in SETTINGS for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                [
                    self.programs / "postgres",
                    "-D",
                    self.folder / "data",
                    "-k",
                    self.folder,
                    *options,
                ],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.account.run_options(),
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(3)  # immediate shutdown
            self.process.wait(20)
            self.process = None

    async def until(self, question: str, answer: Any = True, within_s: float = 30) -> None:
        """Waits until the server answers so."""
        async with asyncio.timeout(within_s):
            while True:
                try:
                    if await self.ask(question) == answer:
                        return
                except (OSError, asyncpg.PostgresError):
                    pass
                await asyncio.sleep(0.05)

    async def ask(self, question: str) -> Any:
        connection = await asyncpg.connect(self.url, timeout=5)
        try:
            return await connection.fetchval(question)
        finally:
            await connection.close()


@pytest.fixture
def servers() -> Iterator[Callable[[str], Server]]:
    """Servers by name, which the test starts."""
    account = unprivileged(our_account())
    assert account is not None
    tree = installed_trees()[max(installed_trees(), key=int)]
    made: dict[str, Server] = {}
    with tempfile.TemporaryDirectory(prefix="pc-", dir=quick_folder()) as folder:
        place = Path(folder)
        place.chmod(0o711)
        programs = tree / "bin"
        if not can_run(account, tree):
            files = program_files(tree)
            backup = f"{tree.parent.name}/{tree.name}/bin/pg_basebackup"
            with (place / "lock").open("w") as lock:
                files = replace(files, names=(*files.names, backup))
                copy = files.ensure_copy(place, lock.fileno())
            programs = copy / tree.relative_to(files.root) / "bin"

        def server(name: str) -> Server:
            if name not in made:
                make_folder(place / name, account)
                made[name] = Server(programs, account, place / name)
            return made[name]

        try:
            yield server
        finally:
            for each in made.values():
                each.stop()


def rows_of(count: int, first_ms: int = START_MS, more: float = 0.0) -> SeriesRows:
    times = first_ms + HOUR_MS * np.arange(count, dtype=np.int64)
    values = np.arange(count)[:, None] + np.array([[1.5, 3.0, 1.0, 2.25, 10.0, 20.0]]) + more
    return SeriesRows(SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1), times, values)


async def store(database: Database, rows: SeriesRows, version: int) -> None:
    """As the recorder does: the rows, and the version of the document that they are of."""

    async def within(connection: Connection) -> None:
        await connection.execute(
            "INSERT INTO history_stored VALUES ('1h', $1, $1, $2) ON CONFLICT (document)"
            " DO UPDATE SET (version, updated_at, stored_at) = ($1, $1, $2)",
            version,
            now_ms(),
        )

    await database.history.store([rows], version, within=within)


async def opens(api: ServedApi) -> list[float]:
    status, _, answer = await ask(api, "GET", ROUTE)
    assert status == 200, answer
    return [row[1] for row in answer["markets"][0]["rows"]]


async def ready(api: ServedApi) -> dict[str, Any]:
    await beat(api.store, "w1")
    await asyncio.sleep(1.1)  # the probe's answer is kept for a second
    answer: dict[str, Any] = (await ask(api, "GET", "/ready"))[2]
    return answer


async def test_history_is_read_from_a_streaming_replica(
    servers: Callable[[str], Server], start_api: StartApi, redis_url: str
) -> None:
    primary, replica = servers("primary"), servers("replica")
    primary.run(
        *("initdb", "-D", os.fspath(primary.folder / "data"), "-U", "perpcache"),
        *("--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=4"),
    )
    primary.start()
    await primary.until("SELECT true")
    database = Database(primary.url)
    await store(database, rows_of(COUNT), START_MS)
    replica.run(
        *("pg_basebackup", "-D", os.fspath(replica.folder / "data"), "-R", "-X", "stream"),
        *("-c", "fast", "-h", os.fspath(primary.folder), "-U", "perpcache"),
    )
    replica.start()
    await replica.until("SELECT pg_is_in_recovery()")
    api = await start_api(redis_url=redis_url, dsn=primary.url, history_database_url=replica.url)
    expected = [1.5 + n for n in range(COUNT)]
    assert await opens(api) == expected
    found = await ready(api)
    assert (found["history_lag_s"], found["parts"]["history"]) == (0.0, "ok")

    # What the primary stores and compacts arrives.
    await store(database, rows_of(1, START_MS + COUNT * HOUR_MS), START_MS + 1)
    await database.history.compact(START_MS + 1000 * DAY_MS)
    await replica.until("SELECT version FROM history_stored", START_MS + 1)
    await replica.until("SELECT count(*) > 0 FROM history_chunks")
    assert await opens(api) == [*expected, 1.5]

    # A replica that stands still answers with what it has, and its lag is told.
    await replica.ask("SELECT pg_wal_replay_pause()")
    await replica.until("SELECT pg_get_wal_replay_pause_state()", "paused")
    began = time.monotonic()
    await store(database, rows_of(1, more=100), START_MS + 2)
    found = await ready(api)
    assert 1 <= found["history_lag_s"] <= time.monotonic() - began + 1
    assert (await opens(api))[0] == 1.5
    await replica.ask("SELECT pg_wal_replay_resume()")
    await replica.until("SELECT version FROM history_stored", START_MS + 2)
    assert (await opens(api))[0] == 101.5
    assert (await ready(api))["history_lag_s"] == 0.0
    await database.aclose()

    # Without the primary it goes on; its lag is not known.
    primary.stop()
    assert (await opens(api))[0] == 101.5
    found = await ready(api)
    assert found["history_lag_s"] is None
    assert found["parts"]["history"] == "unknown while the database is away"

    # Without the replica nothing answers for it.
    primary.start()
    await primary.until("SELECT true")
    replica.stop()
    began = time.monotonic()
    status, _, answer = await ask(api, "GET", ROUTE)
    assert (status, time.monotonic() - began < 3) == (503, True)
    assert answer["detail"].startswith("the database of HISTORY_DATABASE_URL ")
    found = await ready(api)
    assert found["status"] == "degraded"
    assert found["parts"]["history"].startswith("away: the database of HISTORY_DATABASE_URL")
    assert found["parts"]["database"] == "ok"
