"""The cold store on a real PostgreSQL: what discovery changes, what readers get, what fails how."""

import asyncio
import contextlib
import math
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from database import (
    CoinMetadata,
    CoinRecord,
    Database,
    DatabaseUnavailable,
    SavedMarkets,
)
from market.markets import Exchange, ListedMarket, Market
from market.timeframes import Timeframe
from stores.cold.migrate import MIGRATIONS
from stores.cold.pool import Connection, DatabaseHangs, DatabasePool
from tests.fixtures.lateness import elapsed
from tests.fixtures.postgres import OwnPostgres
from tests.fixtures.signals import until_true

BOTH = (Exchange.BINANCE, Exchange.BYBIT)
LAUNCHED_MS, SEEN_MS = 1_568_102_400_000, 1_700_000_000_000


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.aclose()


def listed(
    symbol: str,
    turnover: float | None = None,
    *,
    exchange: Exchange = Exchange.BINANCE,
    quote: str = "USDT",
    launched_ms: int = 0,
) -> ListedMarket:
    base = symbol.removesuffix(quote)
    return ListedMarket(Market(exchange, symbol, base, quote, launched_ms), turnover)


async def symbols(database: Database, limit: int = 0, quote: str = "USDT") -> list[str]:
    found = await database.get_all_unique_coins(exchanges=BOTH, quote=quote, markets_limit=limit)
    return [market.symbol for market in found]


async def test_a_listing_adds_ends_and_brings_back_markets(database: Database) -> None:
    a, b, c = listed("AUSDT"), listed("BUSDT"), listed("CUSDT")
    other = listed("AUSDT", exchange=Exchange.BYBIT)
    assert await database.markets.save_markets(
        Exchange.BINANCE, [a, b], seen_at_ms=1000
    ) == SavedMarkets(added=2, returned=0, delisted=0)
    await database.markets.save_markets(Exchange.BYBIT, [other], seen_at_ms=1500)
    assert await database.markets.save_markets(
        Exchange.BINANCE, [b, c], seen_at_ms=2000
    ) == SavedMarkets(added=1, returned=0, delisted=1)
    assert await symbols(database) == ["BUSDT", "CUSDT", "AUSDT"]  # Bybit's A is another market
    assert await database.markets.save_markets(
        Exchange.BINANCE, [a, b], seen_at_ms=3000
    ) == SavedMarkets(added=0, returned=1, delisted=1)
    seen = {
        record.market.key: (record.active, record.first_seen_ms, record.last_seen_ms)
        for record in await database.coin_records.list_coins()
    }
    assert seen == {
        "binance:AUSDT": (True, 1000, 3000),
        "binance:BUSDT": (True, 1000, 3000),
        "binance:CUSDT": (False, 2000, 2000),  # never deleted
        "bybit:AUSDT": (True, 1500, 1500),
    }
    assert await database.markets.discovered_at_ms(Exchange.BINANCE) == 3000
    assert await database.markets.discovered_at_ms(Exchange.BYBIT) == 1500


async def test_a_repeated_listing_changes_nothing(database: Database) -> None:
    listing = [listed(f"C{number}USDT", float(number)) for number in range(50)]
    await database.markets.save_markets(Exchange.BINANCE, listing, seen_at_ms=1)
    before = await database.coin_records.list_coins()
    assert await database.markets.save_markets(Exchange.BINANCE, listing * 2, seen_at_ms=1) == (
        SavedMarkets(0, 0, 0)
    )
    assert await database.coin_records.list_coins() == before


async def test_an_empty_listing_ends_no_market(database: Database) -> None:
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=1)
    with pytest.raises(ValueError, match="empty listing"):
        await database.markets.save_markets(Exchange.BINANCE, [], seen_at_ms=2)
    assert await symbols(database) == ["AUSDT"]
    assert await database.markets.discovered_at_ms(Exchange.BINANCE) == 1


async def test_a_listing_of_one_quote_leaves_the_others_alone(database: Database) -> None:
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=1)
    await database.markets.save_markets(
        Exchange.BINANCE, [listed("AUSDC", quote="USDC")], seen_at_ms=2
    )
    assert await symbols(database) == ["AUSDT"]
    assert await symbols(database, quote="USDC") == ["AUSDC"]


async def test_what_a_listing_does_not_know_is_kept(database: Database) -> None:
    await database.markets.save_markets(
        Exchange.BINANCE, [listed("AUSDT", 5.0, launched_ms=LAUNCHED_MS)], seen_at_ms=SEEN_MS
    )
    await database.coin_records.set_enabled(["binance:AUSDT"], False)
    await database.markets.save_markets(
        Exchange.BINANCE, [listed("AUSDT", None)], seen_at_ms=SEEN_MS + 1
    )
    [record] = await database.coin_records.list_coins()
    kept = (record.turnover_24h, record.market.launched_ms, record.enabled)
    assert kept == (5.0, LAUNCHED_MS, False)


async def test_any_name_is_stored_and_one_that_cannot_be_costs_only_itself(
    database: Database,
) -> None:
    names = ["币安人生USDT", "'; DROP TABLE coins; --USDT", "A:BUSDT", "🙂USDT", "%_\\USDT"]
    bad = ["A\0USDT", "\ud800USDT"]
    await database.markets.save_markets(
        Exchange.BINANCE, [listed(name) for name in names + bad], seen_at_ms=1
    )
    assert await symbols(database) == sorted(names)  # by code point, whatever the locale
    assert (
        await database.coin_records.set_enabled([f"binance:{name}" for name in names], False) == []
    )
    assert await symbols(database) == []
    with pytest.raises(ValueError, match="empty listing"):
        await database.markets.save_markets(Exchange.BINANCE, [listed(bad[0])], seen_at_ms=2)


async def test_the_limit_takes_most_turnover_of_each_exchange(database: Database) -> None:
    await database.markets.save_markets(
        Exchange.BINANCE,
        [
            listed("LOWUSDT", 1.0),
            listed("TIEBUSDT", 5.0),
            listed("TIEAUSDT", 5.0),
            listed("UNKNOWNBUSDT", None),
            listed("UNKNOWNAUSDT", math.nan),
            listed("TOPUSDT", 9e12),
        ],
        seen_at_ms=1,
    )
    await database.markets.save_markets(
        Exchange.BYBIT,
        [listed("SMALLUSDT", 0.5, exchange=Exchange.BYBIT)],
        seen_at_ms=1,
    )
    assert await symbols(database, limit=2) == ["TIEAUSDT", "TOPUSDT", "SMALLUSDT"]
    assert await symbols(database, limit=5) == [
        *("LOWUSDT", "TIEAUSDT", "TIEBUSDT", "TOPUSDT", "UNKNOWNAUSDT"),
        "SMALLUSDT",
    ]
    await database.coin_records.set_enabled(
        ["binance:TOPUSDT"], False
    )  # its place goes to the next one
    assert await symbols(database, limit=2) == ["TIEAUSDT", "TIEBUSDT", "SMALLUSDT"]
    assert len(await symbols(database, limit=0)) == 6
    only = await database.get_all_unique_coins(exchanges=[Exchange.BYBIT], quote="USDT")
    assert [market.key for market in only] == ["bybit:SMALLUSDT"]


async def test_metadata_is_of_a_market_and_timeframe(database: Database) -> None:
    await database.markets.save_markets(
        Exchange.BINANCE,
        [listed("AUSDT", launched_ms=LAUNCHED_MS), listed("BUSDT")],
        seen_at_ms=SEEN_MS,
    )
    await database.markets.save_metadata(
        Timeframe.H4,
        {"binance:AUSDT": {"hurst": 0.53, "entropy": math.inf, "skew": -1.5, "beta": None}},
        computed_at_ms=10,
    )
    await database.markets.save_metadata(
        Timeframe.H8, {"binance:AUSDT": {"hurst": 0.6}}, computed_at_ms=10
    )
    coins = await database.get_coins_from_db(Timeframe.H4, exchanges=BOTH, quote="USDT")
    assert [coin.market for coin in coins] == [
        Market(Exchange.BINANCE, "AUSDT", "A", "USDT"),
        Market(Exchange.BINANCE, "BUSDT", "B", "USDT"),
    ]
    assert coins[0].market.launched_ms == LAUNCHED_MS
    unknown = {"hurst": None, "entropy": None, "realised_volatility": None}
    assert coins[0].meta == unknown | {"hurst": 0.53, "skew": -1.5, "beta": None}
    assert coins[1].meta == unknown
    # Newer numbers replace, older ones do not, and further names are kept.
    newer = {"binance:AUSDT": {"hurst": None, "entropy": 0.9, "beta": 2.0}}
    await database.markets.save_metadata(Timeframe.H4, newer, computed_at_ms=20)
    older = {"binance:AUSDT": {"hurst": 0.1, "entropy": 0.1, "beta": 0.1}}
    await database.markets.save_metadata(Timeframe.H4, older, computed_at_ms=19)
    [coin, _] = await database.get_coins_from_db(Timeframe.H4, exchanges=BOTH, quote="USDT")
    assert coin.meta == unknown | {"entropy": 0.9, "beta": 2.0, "skew": -1.5}
    await database.markets.save_metadata(Timeframe.H4, {}, computed_at_ms=30)
    [record] = (await database.coin_records.list_coins(Exchange.BINANCE, Timeframe.H8))[:1]
    assert record.metadata == {Timeframe.H8: CoinMetadata(unknown | {"hurst": 0.6}, 10)}
    [record] = (await database.coin_records.list_coins())[:1]
    assert set(record.metadata) == {Timeframe.H4, Timeframe.H8}
    assert await database.coin_records.list_coins(Exchange.BYBIT) == []


async def test_metadata_of_a_time_that_has_not_come_is_replaced(database: Database) -> None:
    minute, key = 60_000, "binance:AUSDT"
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=SEEN_MS)

    async def hurst() -> tuple[float | None, int]:
        [record] = await database.coin_records.list_coins(Exchange.BINANCE)
        known = record.metadata[Timeframe.H4]
        assert known.values["beta"] == 1.0
        return known.values["hurst"], known.computed_at_ms

    ahead_ms = SEEN_MS + 10 * minute
    numbers = {"hurst": 0.9, "beta": 1.0}
    await database.markets.save_metadata(Timeframe.H4, {key: numbers}, computed_at_ms=ahead_ms)
    # Another run may have been a little later.
    await database.markets.save_metadata(
        Timeframe.H4, {key: {"hurst": 0.1}}, computed_at_ms=SEEN_MS
    )
    assert await hurst() == (0.9, ahead_ms)
    for at_ms, number in ((SEEN_MS - 1, 0.2), (SEEN_MS, 0.3)):
        await database.markets.save_metadata(
            Timeframe.H4, {key: {"hurst": number}}, computed_at_ms=at_ms
        )
        assert await hurst() == (number, at_ms)
    # An import merges what another service exported: the later one stays.
    [record] = await database.coin_records.list_coins(Exchange.BINANCE)
    earlier = {Timeframe.H4: CoinMetadata({"hurst": 0.4}, SEEN_MS - 60 * minute)}
    await database.coin_records.import_coins([replace(record, metadata=earlier)])
    assert await hurst() == (0.3, SEEN_MS)


async def test_enabling_is_all_or_nothing(database: Database) -> None:
    await database.markets.save_markets(
        Exchange.BINANCE, [listed("AUSDT"), listed("BUSDT")], seen_at_ms=1
    )
    unknown = await database.coin_records.set_enabled(
        ["binance:AUSDT", "bybit:AUSDT", "nonsense", "binance:AUSDT"], False
    )
    assert unknown == ["bybit:AUSDT", "nonsense"]
    assert await symbols(database) == ["AUSDT", "BUSDT"]
    assert await database.coin_records.set_enabled(["binance:AUSDT"], False) == []
    assert await symbols(database) == ["BUSDT"]
    assert await database.coin_records.set_enabled([], False) == []
    assert await database.coin_records.set_enabled(["binance:AUSDT"], True) == []
    assert await symbols(database) == ["AUSDT", "BUSDT"]


async def test_what_is_exported_can_be_imported(database: Database, database_url: str) -> None:
    await database.markets.save_markets(
        Exchange.BINANCE, [listed("AUSDT", 1.5, launched_ms=3), listed("BUSDT")], seen_at_ms=1
    )
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=2)
    await database.coin_records.set_enabled(["binance:AUSDT"], False)
    meta = {"binance:AUSDT": {"hurst": 0.5, "skew": 1.0}}
    await database.markets.save_metadata(Timeframe.D1, meta, computed_at_ms=9)
    exported = await database.coin_records.list_coins()
    await _execute(database_url, "TRUNCATE coins, coin_metadata")
    assert await database.coin_records.import_coins(exported) == 2
    assert await database.coin_records.list_coins() == exported
    changed = CoinRecord(
        Market(Exchange.BINANCE, "AUSDT", "A2", "USDT", 4), True, True, None, 5, 6, {}
    )
    assert await database.coin_records.import_coins([changed]) == 0
    [record, _] = await database.coin_records.list_coins()
    assert (record.market.base, record.enabled, record.last_seen_ms) == ("A2", True, 6)
    assert set(record.metadata) == {Timeframe.D1}
    assert await database.coin_records.import_coins([]) == 0


async def test_discoveries_at_the_same_time_are_one_after_the_other(
    database: Database, database_url: str
) -> None:
    other = Database(database_url)
    listing = [listed(f"C{number}USDT", float(number)) for number in range(300)]
    results = await asyncio.gather(
        *(
            one.markets.save_markets(Exchange.BINANCE, listing, seen_at_ms=1)
            for one in (database, other, database, other)
        )
    )
    await other.aclose()
    assert sum(result.added for result in results) == 300
    assert len(await symbols(database)) == 300


# Migrations.


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _is_released(connection: Connection) -> bool:
    """Whether the pool has taken the connection back, as it does when it sees it die."""
    try:
        connection.is_closed()
    except asyncpg.InterfaceError:
        return True
    return False


async def _value(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url, timeout=5)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    return folder


async def _fails_to_open(url: str, migrations: Path) -> str:
    database = Database(url, migrations=migrations)
    with pytest.raises(DatabaseUnavailable) as caught:
        await database.open()
    await database.aclose()
    return str(caught.value)


async def test_many_that_open_at_once_migrate_once(
    empty_database_url: str, migrations: Path
) -> None:
    # Slow enough that all of them are there while it runs; a second run would fail.
    (migrations / "9001_slow.sql").write_text("SELECT pg_sleep(0.3); CREATE TABLE once (n int);")
    databases = [Database(empty_database_url, migrations=migrations) for _ in range(8)]
    await asyncio.gather(*(database.open() for database in databases))
    await asyncio.gather(*(database.aclose() for database in databases))
    applied = await _value(
        empty_database_url, "SELECT string_agg(name, ' ' ORDER BY name) FROM perpcache_migrations"
    )
    assert applied == "0001_coins 9001_slow"
    added = await _value(
        empty_database_url, "SELECT string_agg(name, ' ' ORDER BY name) FROM perpcache_additions"
    )
    ours = sorted(file.stem for file in MIGRATIONS.glob("0*.sql"))
    assert added == " ".join(name for name in ours if name != "0001_coins")


async def test_a_failing_migration_leaves_nothing(
    empty_database_url: str, migrations: Path
) -> None:
    (migrations / "9001_half.sql").write_text("CREATE TABLE half (n int); SELECT 1 / 0;")
    message = await _fails_to_open(empty_database_url, migrations)
    assert "9001_half.sql" in message and "division by zero" in message
    assert await _value(empty_database_url, "SELECT to_regclass('half') IS NULL")
    assert await _value(empty_database_url, "SELECT to_regclass('coins') IS NULL")
    (migrations / "9001_half.sql").write_text("CREATE TABLE half (n int);")
    database = Database(empty_database_url, migrations=migrations)
    await database.open()
    await database.aclose()
    assert await _value(empty_database_url, "SELECT to_regclass('half') IS NOT NULL")


async def test_a_changed_or_unknown_migration_is_refused(
    empty_database_url: str, migrations: Path
) -> None:
    (migrations / "9001_more.sql").write_text("CREATE TABLE more (n int);\n")
    database = Database(empty_database_url, migrations=migrations)
    await database.open()
    await database.aclose()
    (migrations / "9001_more.sql").write_bytes(b"CREATE TABLE more (n int);\r\n")
    database = Database(empty_database_url, migrations=migrations)
    await database.open()  # line ends of a checkout are no change
    await database.aclose()
    (migrations / "9001_more.sql").write_text("CREATE TABLE more (n bigint);\n")
    assert "9001_more.sql was changed" in await _fails_to_open(empty_database_url, migrations)
    (migrations / "9001_more.sql").unlink()
    assert "newer than this version: it has 9001_more" in await _fails_to_open(
        empty_database_url, migrations
    )
    (migrations / "9001_more.sql").write_text("CREATE TABLE more (n int);\n")
    (migrations / "9001_also.sql").write_text("SELECT 1;")
    assert "the same number" in await _fails_to_open(empty_database_url, migrations)


# What fails, and how it comes back.


async def test_no_secret_in_what_is_said(database_url: str) -> None:
    password = urlsplit(database_url).password
    assert password
    urls = {
        database_url.replace(password, "hunter2"): "password authentication failed",
        "postgresql://user:hunter2@127.0.0.1:1/x": "Connect call failed",
        "postgresql://user:hunter2@127.0.0.1:1/x?sslnegotiation=direct&sslmode=require": "failed",
    }
    for url, cause in urls.items():
        database = Database(url)
        with pytest.raises(DatabaseUnavailable) as caught:
            await symbols(database)
        assert cause in str(caught.value)
        assert "hunter2" not in str(caught.value)
        await database.aclose()


async def test_it_comes_back_with_the_server(own_postgres: OwnPostgres) -> None:
    database = Database(own_postgres.url)
    own_postgres.kill()
    async with elapsed() as took:  # says no at once, waits for no deadline
        with pytest.raises(DatabaseUnavailable):  # also before it ever was open
            await symbols(database)
    assert took.own_s < 3
    own_postgres.start()
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=1)
    await asyncio.gather(*(symbols(database) for _ in range(4)))  # four connections in the pool
    own_postgres.kill()
    async with elapsed() as took:
        with pytest.raises(DatabaseUnavailable):
            await symbols(database)
    assert took.own_s < 3
    own_postgres.start()
    assert await symbols(database) == ["AUSDT"]
    await database.aclose()


async def test_dead_connections_of_the_pool_are_replaced_unseen(own_postgres: OwnPostgres) -> None:
    database = Database(own_postgres.url)
    await database.markets.save_markets(Exchange.BINANCE, [listed("AUSDT")], seen_at_ms=1)
    await asyncio.gather(*(symbols(database) for _ in range(4)))
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(own_postgres.start)
    # The loop has not yet seen a connection die when the first of these asks.
    found = await asyncio.gather(*(symbols(database) for _ in range(4)))
    assert found == [["AUSDT"]] * 4
    await database.aclose()


async def test_a_server_killed_in_the_middle_of_an_answer_is_away_and_nothing_else(
    own_postgres: OwnPostgres,
) -> None:
    """The client library tells of it by errors of its own, one of them by accident."""
    database = Database(own_postgres.url)
    markets = [f"A{number}USDT" for number in range(30)]
    await database.markets.save_markets(
        Exchange.BINANCE, [listed(symbol) for symbol in markets], seen_at_ms=1
    )
    values = {f"binance:{symbol}": {"hurst": 0.5} for symbol in markets}
    written = 0
    wrote, done = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal written
        while not done.is_set():
            try:
                await database.markets.save_metadata(Timeframe.H1, values, computed_at_ms=written)
                written += 1
                wrote.set()
            except DatabaseUnavailable:
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as writers:
        for _ in range(3):
            writers.create_task(write())
        for number in range(5):
            before = written
            while written < before + 5:
                wrote.clear()
                await wrote.wait()
            server = own_postgres.processes()[0]
            server.send_signal(signal.SIGINT if number % 2 else signal.SIGKILL)
            await asyncio.to_thread(server.wait, 60)
            await asyncio.to_thread(own_postgres.start)
        done.set()
    await database.markets.save_metadata(Timeframe.H1, values, computed_at_ms=written)
    await database.aclose()


async def test_whoever_is_cancelled_ends_though_the_connection_died_before(
    database_url: str,
) -> None:
    """A feed that took the error for an outage went on for ever, and its process with it."""
    pool = DatabasePool(database_url, MIGRATIONS, read_s=20, write_s=20)
    await pool.open()
    died = asyncio.Event()

    async def work(connection: Connection) -> None:
        number = await connection.fetchval("SELECT pg_backend_pid()")
        await _execute(database_url, f"SELECT pg_terminate_backend({number})")
        await until_true(partial(_is_released, connection))
        died.set()
        await asyncio.Event().wait()

    reading = asyncio.create_task(pool.read(work))
    await died.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    short = DatabasePool(database_url, MIGRATIONS, read_s=1, write_s=1)
    with pytest.raises(DatabaseHangs, match="in time"):  # the deadline is told, too
        await short.read(work)
    for each in (pool, short):
        await each.aclose()


async def test_a_server_that_hangs_costs_a_deadline(own_postgres: OwnPostgres) -> None:
    database = Database(own_postgres.url, read_s=0.5)
    await database.open()
    processes = own_postgres.processes()
    with contextlib.ExitStack() as stopped:
        for process in processes:
            process.send_signal(signal.SIGSTOP)
            stopped.callback(os.kill, process.pid, signal.SIGCONT)
        async with elapsed() as took:
            with pytest.raises(DatabaseUnavailable, match="did not answer in time"):
                await symbols(database)
        assert took.own_s < 3
    assert await symbols(database) == []
    await database.aclose()
