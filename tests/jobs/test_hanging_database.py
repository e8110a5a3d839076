"""A database that hangs costs a run one deadline: it goes on with what it knows without waiting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from database import Database, DatabaseUnavailable
from market.markets import Exchange
from market.timeframes import Timeframe
from tests.fixtures.jobs import OpenRunner, by_key
from tests.fixtures.simulator import NOW_MS, StartSimulator

BYBIT = Exchange.BYBIT


class Silent:
    """A server that accepts connections and says nothing."""

    def __init__(self) -> None:
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def meet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Silent, Database]]:
    """It, and a database there."""
    found = Silent()
    server = await asyncio.start_server(found.meet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    database = Database(f"postgresql://nobody@127.0.0.1:{port}/x?sslmode=disable&connect_timeout=1")
    yield found, database
    await database.aclose()
    found.close()
    server.close()
    await server.wait_closed()


async def test_after_one_deadline_every_call_of_a_run_fails_at_once(
    silent: tuple[Silent, Database],
) -> None:
    server, database = silent
    run = database.for_one_run()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: run.get_all_unique_coins(exchanges=[BYBIT], quote="USDT"),
        lambda: run.get_coins_from_db(Timeframe.H4, exchanges=[BYBIT], quote="USDT"),
        lambda: run.markets.save_metadata(Timeframe.H4, {"bybit:A": {}}, computed_at_ms=1),
        lambda: run.listings.states([BYBIT], "USDT"),
        lambda: run.listings.failed(BYBIT, "HTTP 502", at_ms=1),
        lambda: run.coin_records.list_coins(),
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable, match=r"^the database did not answer in time$"):
            await call()
    assert server.connections == 1
    # Another run asks it again.
    with pytest.raises(DatabaseUnavailable):
        await database.for_one_run().listings.states([BYBIT], "USDT")
    assert server.connections == 2


async def test_what_fails_at_once_is_asked_every_time(database_url: str) -> None:
    """It costs nothing, and may be well again in the same run."""
    database = Database(database_url)
    run = database.for_one_run()
    try:
        assert await run.get_all_unique_coins(exchanges=[BYBIT], quote="USDT") == []
        server = await asyncpg.connect(database_url)
        await server.execute("ALTER TABLE market_lives RENAME TO gone")
        with pytest.raises(DatabaseUnavailable, match="market_lives"):
            await run.get_all_unique_coins(exchanges=[BYBIT], quote="USDT")
        await server.execute("ALTER TABLE gone RENAME TO market_lives")
        await server.close()
        assert await run.get_all_unique_coins(exchanges=[BYBIT], quote="USDT") == []
    finally:
        await database.aclose()


async def test_each_job_waits_for_it_once(
    start_simulator: StartSimulator, open_runner: OpenRunner, silent: tuple[Silent, Database]
) -> None:
    exchanges = start_simulator(binance=3, bybit=3, now=NOW_MS, frozen=True)
    server, hanging = silent
    async with open_runner(exchanges) as runner:
        await runner.complete("funding")
        await runner.complete("collect:4h")
        before = by_key(await runner.document("4h"))
        runner.context = replace(runner.context, database=hanging)
        result = await runner.complete("collect:4h")
        assert (result["markets"], result["metadata_not_stored"]) == (
            6,
            "the database did not answer in time",
        )
        after = by_key(await runner.document("4h"))
        assert {key: market["meta"] for key, market in after.items()} == {
            key: market["meta"] for key, market in before.items()
        }
        assert server.connections == 1
        assert (await runner.complete("funding"))["markets"] == 6
        assert server.connections == 2
        failed = await runner.run("discovery")
        assert (failed.state, failed.error) == ("failed", "the database did not answer in time")
        assert server.connections == 3
