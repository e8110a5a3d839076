"""Points in the tables of a real PostgreSQL: exact, each trade once, through every outage."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from database import Database
from live.data_types import DataType, MarketDataPoint
from live.outputs import sender
from live.outputs.postgres_tables import PostgresTables
from live.outputs.sender import Limits
from tests.fixtures.disk import MakeDisk, fill
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.signals import until_true
from tests.live.outputs.points import NATIVE, book, candle, now, point, ticker, trade

# The sessions of a database, ended.
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '%s'"
QUICK = Limits(0.005, 5_000, 2_000_000, 64_000_000)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the last batch takes longer than the second that a process has."""
    monkeypatch.setattr(sender, "LAST_S", 30.0)


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[PostgresTables]:
    """An output that runs, with its database."""
    database = Database(url)
    output = PostgresTables(database.live_tables, 7, **{"limits": QUICK, **options})
    task = asyncio.create_task(output.run())
    try:
        yield output
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.aclose()


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def all_sent(output: PostgresTables) -> None:
    await until_true(lambda: output.status()["queued"] == 0)


async def test_every_type_is_stored_exactly(database_url: str) -> None:
    at = now()
    key = {"exchange": "okx", "symbol": NATIVE, "time": at}
    async with opened(database_url) as output:
        output.take(trade("t1", "85885.40", "0.00000010", at))
        output.take(trade("t2", "123456789012345678901234567890.123456789", "1E+3", at))
        output.take(ticker(at, last_price="85885.40", funding_rate="-0.00003629", high_24h="9.10",
                           trades_24h="12"))  # fmt: skip
        output.take(book(7, at))
        await all_sent(output)
    assert await rows(database_url, "SELECT * FROM live_trades ORDER BY trade_id") == [
        key | {"trade_id": "t1", "price": Decimal("85885.4"), "size": Decimal("1E-7"),
               "side": "sell"},
        key | {"trade_id": "t2", "price": Decimal("123456789012345678901234567890.123456789"),
               "size": Decimal(1000), "side": "sell"},
    ]  # fmt: skip
    (stored,) = await rows(database_url, "SELECT * FROM live_tickers")
    told = {name: value for name, value in stored.items() if value is not None}
    assert told == key | {
        "last_price": Decimal("85885.4"), "funding_rate": Decimal("-0.00003629"),
        "other": '{"high_24h": "9.1", "trades_24h": 12}',
    }  # fmt: skip
    assert len(stored) == 15  # the columns of what was not told are null
    (stored,) = await rows(database_url, "SELECT * FROM live_books")
    assert stored == key | {
        "last_id": 7,
        "bids": [[Decimal("100.5"), Decimal(2)], [Decimal("100.4"), Decimal("0.1")]],
        "asks": [[Decimal("100.6"), Decimal("1E-7")]],
    }
    assert output.status() == {
        "queued": 0, "sent": 4, "dropped": 0, "errors": 0, "last_error": None, "replaced": 0,
    }  # fmt: skip


async def test_a_trade_that_comes_again_is_stored_once(database_url: str) -> None:
    at, later = now(), now() + timedelta(seconds=1)
    async with opened(database_url) as output:
        for _ in range(3):
            for number in range(50):
                output.take(trade(str(number), at=at))
            await all_sent(output)
        for other in (trade("0", at=later), trade("0", at=at, native="ETH-USDT-SWAP")):
            output.take(other)
        output.take(MarketDataPoint("bybit", NATIVE, at, DataType.TRADE, trade("0").data))
        await all_sent(output)
    assert await rows(database_url, "SELECT count(*) FROM live_trades") == [{"count": 53}]


async def test_of_tickers_and_books_a_batch_has_the_newest(database_url: str) -> None:
    at = now()
    slow = Limits(3600.0, 5_000, 2_000_000, 64_000_000)
    async with opened(database_url, limits=slow) as output:
        await asyncio.sleep(0)
        for number in range(1, 101):
            moment = at + timedelta(milliseconds=number)
            output.take(ticker(moment, last_price=str(number)))
            output.take(ticker(moment, "ETH-USDT-SWAP", last_price=str(2 * number)))
            output.take(book(number, moment))
        output.take(ticker(at, last_price="5"))  # over another connection, and late
        assert output.status()["queued"] == 3
        assert output.status()["replaced"] == 298
    assert await rows(
        database_url, "SELECT symbol, last_price, time FROM live_tickers ORDER BY symbol"
    ) == [
        {"symbol": NATIVE, "last_price": Decimal(100), "time": at + timedelta(milliseconds=100)},
        {"symbol": "ETH-USDT-SWAP", "last_price": 200, "time": at + timedelta(milliseconds=100)},
    ]
    assert await rows(database_url, "SELECT last_id FROM live_books") == [{"last_id": 100}]


async def test_a_point_that_cannot_be_stored_is_refused_alone(database_url: str) -> None:
    bad = [trade("\0"), ticker(last_price="1E+9999"), book(2**63), candle(1_795_985_160_000)]
    bad.append(point(DataType.ORDERBOOK, {"bids": 7, "asks": []}))
    async with opened(database_url) as output:
        for number, each in enumerate(bad):
            output.take(trade(str(number)))
            output.take(each)
        await all_sent(output)
        assert (output.status()["sent"], output.status()["errors"]) == (5, 5)
        assert output.status()["last_error"].startswith("okx: BTC/USDT: ")


async def test_what_only_the_database_refuses_costs_its_row_alone(database_url: str) -> None:
    """U+0000 in JSON is a text to us, and none to PostgreSQL."""
    slow = Limits(3600.0, 5_000, 2_000_000, 64_000_000)
    async with opened(database_url, limits=slow) as output:
        await asyncio.sleep(0)
        for number in range(200):
            data = {"last_price": Decimal(number), "note": "\0" if number in (17, 99) else "fine"}
            output.take(point(DataType.TICKER, data | {"exchange_symbol": f"COIN{number}"}))
            output.take(trade(str(number)))
    status = output.status()
    assert (status["sent"], status["errors"], status["dropped"]) == (398, 2, 0)
    assert "COIN" in status["last_error"]
    stored = await rows(database_url, "SELECT symbol FROM live_tickers")
    assert {row["symbol"] for row in stored} == {
        f"COIN{number}" for number in range(200) if number not in (17, 99)
    }


async def test_a_database_that_is_away_under_load_loses_nothing_below_the_cap(
    database_url: str,
) -> None:
    address = urlsplit(database_url)
    server = urlunsplit(address._replace(path="/postgres"))
    name = address.path[1:]
    taken = 0

    async def take(count: int) -> None:
        nonlocal taken
        for _ in range(count):
            taken += 1
            output.take(trade(str(taken)))
            if taken % 10 == 0:
                await asyncio.sleep(0.001)

    with capture_logs() as logs:
        async with opened(database_url) as output:
            await take(500)
            await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false", _CUT % name)
            await take(500)
            await until_true(lambda: output.status()["last_error"])
            assert output.status()["queued"] > 0
            await execute(server, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            await take(500)
            await all_sent(output)
            status = output.status()
    assert (status["sent"], status["dropped"], status["errors"]) == (taken, 0, 0)
    stored = await rows(database_url, "SELECT trade_id FROM live_trades")
    assert sorted(int(row["trade_id"]) for row in stored) == list(range(1, taken + 1))
    assert [line["event"] for line in logs].count("output_back") == 1


async def test_a_database_that_takes_no_writes_loses_nothing_below_the_cap(
    database_url: str,
) -> None:
    name = urlsplit(database_url).path[1:]
    with capture_logs() as logs:
        async with opened(database_url) as output:
            output.take(trade("first"))
            await all_sent(output)
            await execute(
                database_url,
                f"ALTER DATABASE {name} SET default_transaction_read_only = on",
                f"{_CUT % name} AND pid <> pg_backend_pid()",
            )
            for number in range(100):
                output.take(trade(str(number)))
            await until_true(lambda: output.status()["last_error"])
            assert output.status()["last_error"].startswith("the database takes no writes")
            assert (output.status()["queued"], output.status()["dropped"]) == (100, 0)
            await execute(
                database_url,
                "SET default_transaction_read_only = off",
                f"ALTER DATABASE {name} RESET default_transaction_read_only",
                f"{_CUT % name} AND pid <> pg_backend_pid()",
            )
            await all_sent(output)
    assert await rows(database_url, "SELECT count(*) FROM live_trades") == [{"count": 101}]
    told = [line["event"] for line in logs if line["event"].startswith("output_")]
    assert told.count("output_back") == 1


@pytest.mark.slow
async def test_a_database_that_dies_under_load_loses_nothing_below_the_cap(
    own_postgres: OwnPostgres,
) -> None:
    """Killed and stopped while trades come: each is there once when it is back."""
    taken = 0

    async def take(count: int) -> None:
        nonlocal taken
        for _ in range(count):
            taken += 1
            output.take(trade(str(taken)))
            if taken % 10 == 0:
                await asyncio.sleep(0.001)

    async with opened(own_postgres.url) as output:
        await take(2000)
        for number in (signal.SIGKILL, signal.SIGINT):
            server = own_postgres.processes()[0]
            server.send_signal(number)
            await take(1000)
            await asyncio.to_thread(server.wait, 60)
            await take(1000)
            await asyncio.to_thread(own_postgres.start)
            await take(1000)
            await all_sent(output)
        status = output.status()
        assert (status["sent"], status["dropped"], status["errors"]) == (taken, 0, 0)
    stored = await rows(own_postgres.url, "SELECT trade_id FROM live_trades")
    assert sorted(int(row["trade_id"]) for row in stored) == list(range(1, taken + 1))


@pytest.mark.slow
async def test_a_database_that_stays_away_costs_no_memory_beyond_the_cap(
    own_postgres: OwnPostgres,
) -> None:
    own_postgres.kill()
    small = Limits(0.005, 500, 200_000, 500_000)
    async with opened(own_postgres.url, limits=small) as output:
        for number in range(20_000):
            output.take(ticker(native=f"COIN{number % 100}", last_price="1"))
            output.take(trade(str(number)))
            if number % 100 == 0:
                await asyncio.sleep(0)
        status = output.status()
        assert status["dropped"] > 15_000
        assert status["queued"] < 1000 + 100  # what the queue holds, and one ticker of each market
        await asyncio.to_thread(own_postgres.start)
        await all_sent(output)
        status = output.status()
    assert status["sent"] + status["dropped"] + status["replaced"] == 40_000
    (stored,) = await rows(
        own_postgres.url,
        "SELECT count(*), max(trade_id::int) AS newest FROM live_trades",
    )
    assert stored["newest"] == 19_999  # the oldest went, not the newest
    assert 0 < stored["count"] < 1000


@pytest.mark.slow
async def test_a_full_disk_loses_nothing_below_the_cap(make_disk: MakeDisk) -> None:
    disk = make_disk(200)
    server = OwnPostgres(disk)
    try:
        async with opened(server.url) as output:
            output.take(trade("first"))
            await all_sent(output)
            filler = fill(disk)
            taken = 0
            while not output.status()["last_error"]:
                for _ in range(500):
                    taken += 1
                    output.take(trade(f"{taken:090d}"))
                await asyncio.sleep(0.01)
            assert output.status()["dropped"] == 0
            filler.unlink()
            if not server.processes()[0].is_running():
                await asyncio.to_thread(server.start)
            await all_sent(output)
        (stored,) = await rows(server.url, "SELECT count(*) FROM live_trades")
        assert stored["count"] == taken + 1
    finally:
        server.embedded.release()
        server.embedded.remove()
