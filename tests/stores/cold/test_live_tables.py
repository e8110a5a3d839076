"""The live tables and their daily partitions, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import asyncpg
import pytest

from database import Database, DatabaseUnavailable
from stores.cold.live_partitions import LIVE_TABLES
from stores.cold.live_tables import LiveTables, TradeRow
from tests.fixtures.lateness import elapsed
from tests.fixtures.postgres import DatabaseIn, User
from tests.fixtures.signals import until
from timing.clock import now_ms

DAY_MS = 86_400_000
_WAITING = (
    "SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
    " WHERE NOT l.granted AND a.datname = current_database()"
)
if TYPE_CHECKING:
    Session = asyncpg.Connection[asyncpg.Record]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(database: Database, database_url: str) -> AsyncIterator["Session"]:
    await database.open()
    found = await asyncpg.connect(database_url, timeout=30)
    yield found
    await found.close()


def trades(*ids: str, at_ms: int | None = None, symbol: str = "BTCUSDT") -> list[TradeRow]:
    time_ms = now_ms() if at_ms is None else at_ms
    return [TradeRow("binance", symbol, time_ms, each, "1.5", "2", "buy") for each in ids]


async def ids(session: "Session") -> list[str]:
    return [row["trade_id"] for row in await session.fetch(
        "SELECT trade_id FROM live_trades ORDER BY trade_id"
    )]  # fmt: skip


async def partitions(session: "Session", table: str = "live_trades") -> list[str]:
    return [row["name"] for row in await session.fetch(
        "SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = $1::text::regclass ORDER BY 1", table
    )]  # fmt: skip


async def today(session: "Session") -> date:
    found: date = await session.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    return found


def named(day: date, offset: int = 0, table: str = "live_trades") -> str:
    return f"{table}_{day + timedelta(days=offset):%Y%m%d}"


async def make(session: "Session", day: date, name: str) -> None:
    await session.execute(
        f"CREATE TABLE {name} PARTITION OF live_trades FOR VALUES FROM"
        f" ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
    )


async def test_partitions_are_made_ahead_once_by_however_many(
    database_url: str, database: Database, connection: "Session"
) -> None:
    hosts = [Database(database_url) for _ in range(4)]
    await asyncio.gather(*(host.live_tables.keep_partitions(7) for host in hosts * 2))
    await asyncio.gather(*(host.aclose() for host in hosts))
    day = await today(connection)
    for table in LIVE_TABLES:
        assert await partitions(connection, table) == [named(day, n, table) for n in (0, 1, 2)]
    # Each takes what its day's first and last millisecond bring.
    begin = int(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1000)
    for at_ms in (begin, begin + DAY_MS - 1, begin + DAY_MS):
        await database.live_tables.write(trades("t", at_ms=at_ms))
    counts = await connection.fetch(
        "SELECT tableoid::regclass::text AS name, count(*) FROM live_trades GROUP BY 1 ORDER BY 1"
    )
    assert [tuple(row) for row in counts] == [(named(day), 2), (named(day, 1), 1)]


async def test_times_are_stored_to_the_millisecond(
    database: Database, connection: "Session"
) -> None:
    """Over a day of times, whatever float arithmetic does to them."""
    begin = now_ms() // DAY_MS * DAY_MS
    times = [begin + step * 864_007 + step % 1000 for step in range(100)]
    await database.live_tables.write([row for at in times for row in trades("t", at_ms=at)])
    stored = await connection.fetch(
        "SELECT (extract(epoch FROM time) * 1000)::numeric AS ms FROM live_trades ORDER BY time"
    )
    assert [row["ms"] for row in stored] == sorted(times)


async def test_a_missing_partition_is_made_when_a_row_comes(
    database: Database, connection: "Session"
) -> None:
    day = await today(connection)
    assert await partitions(connection) == []
    rows = trades("today") + trades("yesterday", at_ms=now_ms() - DAY_MS)
    assert await database.live_tables.write(rows) == []
    assert await partitions(connection) == [named(day, -1), named(day)]
    assert await ids(connection) == ["today", "yesterday"]


async def test_a_row_of_a_day_that_is_far_makes_no_partition(
    database: Database, connection: "Session"
) -> None:
    """A host whose clock is years ahead must not fill the database with tables."""
    rows = trades("a", "b") + trades("far", at_ms=now_ms() + 400 * DAY_MS) + trades("c")
    (refused,) = await database.live_tables.write(rows)
    assert refused.row == rows[2]
    assert "no partition" in refused.reason
    assert await ids(connection) == ["a", "b", "c"]
    assert len(await partitions(connection)) == 1


async def test_old_partitions_are_dropped_with_their_rows(
    database: Database, connection: "Session"
) -> None:
    day = await today(connection)
    for offset in (-30, -9, -8, -7, -1):
        await make(connection, day + timedelta(days=offset), named(day, offset))
    await connection.execute("CREATE TABLE live_trades_20200101 (mine int)")  # no partition of it
    await make(connection, day - timedelta(days=50), "my_own_partition")
    assert await database.live_tables.keep_partitions(0) == []
    kept = [named(day, n) for n in (-30, -9, -8, -7, -1, 0, 1, 2)]
    assert await partitions(connection) == [*kept, "my_own_partition"]
    assert await database.live_tables.keep_partitions(7) == []
    # The one of seven days ago may hold rows of less than seven times 24 hours ago.
    assert await partitions(connection) == [*kept[3:], "my_own_partition"]
    assert await connection.fetchval("SELECT count(*) FROM live_trades_20200101") == 0


async def test_a_long_read_stops_neither_writing_nor_making_and_dropping_waits(
    database: Database, database_url: str, connection: "Session"
) -> None:
    day = await today(connection)
    await make(connection, day - timedelta(days=20), named(day, -20))
    async with connection.transaction():
        await connection.fetch("SELECT count(*) FROM live_trades")  # holds its locks
        async with elapsed() as took:
            assert await database.live_tables.write(trades("first")) == []
            in_use = await database.live_tables.keep_partitions(7)
        assert in_use == [named(day, -20)]
        assert took.own_s < 10  # the drop gives up after a second
        assert await database.live_tables.write(trades("second")) == []
    assert await database.live_tables.keep_partitions(7) == []
    assert named(day, -20) not in await partitions(connection)
    assert await ids(connection) == ["first", "second"]


async def test_rows_wait_no_longer_than_the_statement_may_take(
    database: Database, database_url: str, connection: "Session"
) -> None:
    """And nothing of ours waits on in the server: each try would leave one more session there."""
    await database.live_tables.keep_partitions(7)
    quick = LiveTables(database._pool, statement_s=0.1)
    async with connection.transaction():
        await connection.execute("LOCK TABLE live_trades")
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable, match="statement timeout"):
                await quick.write(trades("t"))

        async def none_waits() -> bool:
            return not await connection.fetchval(_WAITING)

        await until(none_waits)
    assert await database.live_tables.write(trades("t")) == []
    assert await ids(connection) == ["t"]


async def test_hosts_that_store_the_same_rows_never_wait_for_each_other_both(
    database: Database, connection: "Session"
) -> None:
    """Another host has stored the first by key, and not yet the second: ours, which got them the
    other way round, waits for it without holding what it needs next."""
    await database.live_tables.keep_partitions(7)
    at_ms = now_ms()
    insert = (
        "INSERT INTO live_trades (exchange, symbol, time, trade_id, price, size)"
        " VALUES ('binance', 'BTCUSDT', to_timestamp($1::numeric / 1000), $2, 1, 1)"
    )
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = '20s'")
        await connection.execute(insert, at_ms, "a")
        ours = asyncio.create_task(database.live_tables.write(trades("b", "a", at_ms=at_ms)))

        async def it_waits() -> bool:
            return bool(await connection.fetchval(_WAITING))

        await until(it_waits)
        await connection.execute(insert, at_ms, "b")
    assert await ours == []
    assert await ids(connection) == ["a", "b"]


async def test_a_row_that_the_database_refuses_costs_no_other(
    database: Database, connection: "Session"
) -> None:
    rows = trades(*(f"{number:04}" for number in range(1000)))
    for number in (0, 500, 999):
        rows[number] = rows[number]._replace(price="much")
    refused = await database.live_tables.write(rows)
    assert [each.row for each in refused] == [rows[0], rows[500], rows[999]]
    assert all("much" in each.reason for each in refused)
    assert len(await ids(connection)) == 997


async def test_a_batch_of_nothing_but_such_rows_ends(database: Database) -> None:
    rows = [row._replace(price="much") for row in trades(*map(str, range(5000)))]
    assert len(await database.live_tables.write(rows)) == 5000


async def test_names_that_the_encoding_lacks_cost_their_rows_alone(database_in: DatabaseIn) -> None:
    """However many of them are in a batch."""
    url = await database_in("LATIN1")
    database = Database(url)
    rows = [
        row
        for number in range(300)
        for row in trades(str(number), symbol=("BTCUSDT", "币安人生USDT", "ÄUSDT")[number % 3])
    ]
    refused = await database.live_tables.write(rows)
    assert {each.row.symbol for each in refused} <= {"币安人生USDT", "ÄUSDT"}
    session = await asyncpg.connect(url, timeout=30)
    stored = await session.fetch("SELECT symbol, count(*) FROM live_trades GROUP BY 1 ORDER BY 1")
    await session.close()
    assert tuple(stored[0]) == ("BTCUSDT", 100)
    await database.aclose()


async def test_a_schema_of_our_own_has_its_partitions(
    database_url: str, database: Database, connection: "Session"
) -> None:
    await connection.execute("CREATE SCHEMA desk")
    there = Database(f"{database_url}&schema=desk")
    rows = trades("a") + trades("bad")
    rows[1] = rows[1]._replace(price="much")
    assert len(await there.live_tables.write(rows)) == 1
    assert await there.live_tables.keep_partitions(7) == []
    await there.aclose()
    assert await connection.fetchval("SELECT trade_id FROM desk.live_trades") == "a"
    assert len(await partitions(connection, "desk.live_trades")) == 3
    assert await partitions(connection) == []


async def test_who_does_not_own_the_tables_is_told(user: User) -> None:
    await user.may("ALL ON ALL TABLES IN SCHEMA public")
    database = Database(user.url)
    with pytest.raises(DatabaseUnavailable, match="denies its user the daily partitions"):
        await database.live_tables.write(trades("t"))
    await database.aclose()


async def test_the_tables_come_to_a_database_of_the_release_before(earlier_cold: str) -> None:
    database = Database(earlier_cold)
    assert await database.live_tables.write(trades("t")) == []
    await database.aclose()
    session = await asyncpg.connect(earlier_cold, timeout=30)
    assert await ids(session) == ["t"]
    added = await session.fetchval(
        "SELECT count(*) FROM perpcache_additions WHERE name = '0004_live_tables'"
    )
    await session.close()
    assert added == 1
