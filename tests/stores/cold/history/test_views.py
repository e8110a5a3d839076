"""The views of the record on a real PostgreSQL: exact rows, keys that are reached, names of others.

What the tables hold is written here by hand, from the description in 0006_history.sql.
"""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeAlias

import asyncpg
import numpy as np
import pytest
from structlog.testing import capture_logs

from database import Database, SeriesKey, SeriesRows
from stores.cold.migrate import MIGRATIONS

HOUR_MS: Final = 3_600_000
SLOT_MS: Final = 576 * HOUR_MS
START_MS: Final = 800 * SLOT_MS  # 2022-07-11 00:00 UTC
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CANDLES: Final = "open, high, low, close, volume, turnover"

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Candle: TypeAlias = tuple[Any, ...]  # t, six numbers, known_at


def moment(time_ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=time_ms)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a migrated database."""
    database = Database(database_url)
    await database.open()
    await database.aclose()
    connection = await asyncpg.connect(database_url, timeout=10)
    yield connection
    await connection.close()


async def series(
    connection: Connection, symbol: str, kind: str = "candles", interval_ms: int = HOUR_MS
) -> int:
    found: int = await connection.fetchval(
        "INSERT INTO history_series (exchange, symbol, kind, interval_ms)"
        " VALUES ('binance', $1, $2, $3) RETURNING series_id",
        *(symbol, kind, interval_ms),
    )
    return found


def walk(
    seed: int, count: int, *, step_ms: int = HOUR_MS, start_ms: int = START_MS
) -> list[Candle]:
    """Candles with two decimals in prices, three in volumes and five in turnovers."""
    random_ = random.Random(seed)  # noqa: S311 - the same ones again
    close = 64_000_00
    candles: list[Candle] = []
    for number in range(count):
        opened, close = close, close + random_.randint(-30_000, 30_000)
        high = max(opened, close) + random_.randint(0, 900)
        low = min(opened, close) - random_.randint(0, 900)
        prices = [float(Decimal(price) / 100) for price in (opened, high, low, close)]
        volume = float(Decimal(random_.randint(0, 10**9)) / 1000)
        turnover = float(Decimal(random_.randint(0, 10**15)) / 100_000)
        t = start_ms + number * step_ms
        candles.append((t, *prices, volume, turnover, t + step_ms + random_.randint(400, 9000)))
    return candles


def mantissas(values: Sequence[float], decimals: int) -> list[int]:
    return [int(Decimal(repr(value)).scaleb(decimals)) for value in values]


def chunk(series_id: int, candles: Sequence[Candle], **raw: Sequence[float]) -> Mapping[str, Any]:
    """A row of history_chunks; the columns named in `raw` hold those numbers as they are."""
    times, opened, high, low, close, volume, turnover, known = zip(*candles, strict=True)
    prices = {"open": opened, "high": high, "low": low, "close": close}
    row: dict[str, Any] = {
        **{"series_id": series_id, "slot": times[0] // SLOT_MS, "format": 1, "n": len(times)},
        **{"first_t": times[0], "last_t": times[-1], "step_ms": HOUR_MS, "checksum": 0},
        **{"newest_known_at": max(known), "known_base": 0, "close_base": 0},
    }
    if [t - times[0] for t in times] != [number * HOUR_MS for number in range(len(times))]:
        row["steps_int2"] = [(t - times[0]) // HOUR_MS for t in times]
    if len(set(known)) == 1:
        row["known_base"] = known[0]
    else:
        row["known_base"] = 3_600_000
        row["known_int4"] = [at - t - 3_600_000 for at, t in zip(known, times, strict=True)]
    if raw:
        row |= {f"{name}_float8": list(values) for name, values in prices.items()}
    else:
        whole = {name: mantissas(values, 2) for name, values in prices.items()}
        row |= {"price_decimals": 2, "close_base": 64_000_00}
        row["close_int4"] = [price - 64_000_00 for price in whole["close"]]
        for name in ("open", "high", "low"):
            row[f"{name}_int4"] = [
                price - last for price, last in zip(whole[name], whole["close"], strict=True)
            ]
    row |= {"volume_decimals": 3, "volume_int8": mantissas(volume, 3)}
    row |= {"turnover_decimals": 5, "turnover_int8": mantissas(turnover, 5)}
    return row


async def insert(connection: Connection, table: str, row: Mapping[str, Any]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})",  # noqa: S608 - our own
        *row.values(),
    )


async def recent(connection: Connection, series_id: int, candles: Sequence[Candle]) -> None:
    await connection.executemany(
        "INSERT INTO history_recent (series_id, t, open, high, low, close, volume, turnover,"
        " known_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [(series_id, *candle) for candle in candles],
    )


async def rows_of(connection: Connection, query: str, *given: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(query, *given)]


async def read(connection: Connection, query: str, *given: Any) -> list[Candle]:
    """The rows of a query on candles, in the form of `walk`; both forms of times must agree."""
    found: list[Candle] = []
    for row in await connection.fetch(query, *given):
        assert row["open_time"] == moment(row["open_time_ms"])
        assert row["known_at"] == moment(row["known_at_ms"])
        numbers = [row[name] for name in CANDLES.split(", ")]
        found.append((row["open_time_ms"], *numbers, row["known_at_ms"]))
    return found


async def test_chunks_and_recent_rows_are_told_exactly(connection: Connection) -> None:
    candles = walk(1, 600)
    holed = [candle for number, candle in enumerate(walk(2, 300)) if number % 7]
    odd = [
        (*candle[:1], *(price * (1 / 3) for price in candle[1:5]), *candle[5:7], START_MS + 10**9)
        for candle in walk(3, 50)
    ]
    names = {"AUSDT": candles, "BUSDT": holed, "CUSDT": odd}
    ids = {name: await series(connection, name) for name in names}
    await insert(connection, "history_chunks", chunk(ids["AUSDT"], candles[:576]))
    await recent(connection, ids["AUSDT"], candles[576:])
    await insert(connection, "history_chunks", chunk(ids["BUSDT"], holed))
    await insert(connection, "history_chunks", chunk(ids["CUSDT"], odd, prices=()))
    for name, expected in names.items():
        query = (
            "SELECT * FROM candles WHERE exchange = 'binance' AND symbol = $1 AND timeframe = '1h'"
        )
        assert await read(connection, f"{query} ORDER BY open_time", name) == expected
    assert await connection.fetchval("SELECT count(*) FROM candles") == 600 + len(holed) + 50
    assert await rows_of(
        connection,
        'SELECT interval, "timestamp", open, close, volume, provider, fetched_at FROM cached_ohlc'
        " WHERE symbol = 'AUSDT' AND interval = '1h' ORDER BY 2 LIMIT 2",
    ) == [
        ("1h", moment(t), opened, close, volume, "binance", moment(known))
        for t, opened, _, _, close, volume, _, known in candles[:2]
    ]


async def test_a_span_of_time_as_it_is_known_and_as_it_was(connection: Connection) -> None:
    candles = walk(4, 1000)
    one, other = await series(connection, "AUSDT"), await series(connection, "BUSDT")
    await insert(connection, "history_chunks", chunk(one, candles[:576]))
    await recent(connection, one, candles[576:])
    await recent(connection, other, candles[:1])
    # Number 100 had another close before a correction; number 101 was gone again later.
    corrected, gone = candles[100], candles[101]
    earlier = (*corrected[:4], corrected[4] + 1, *corrected[5:7], corrected[0] + HOUR_MS + 1)
    lost = (*gone[:4], gone[4], *gone[5:7], gone[0] + HOUR_MS + 1)
    fix_ms, loss_ms = corrected[7], gone[7] + 10**7
    await connection.executemany(
        "INSERT INTO history_revisions (series_id, t, open, high, low, close, volume, turnover,"
        " known_from, known_to) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [(one, *earlier, fix_ms), (one, START_MS - HOUR_MS, *lost[1:], loss_ms)],
    )

    async def between(
        start_ms: int | None, end_ms: int | None, as_of_ms: int | None = None
    ) -> list[Candle]:
        times = [None if at is None else moment(at) for at in (start_ms, end_ms, as_of_ms)]
        query = "SELECT * FROM candles_between('binance', 'AUSDT', '1h', $1, $2, $3) ORDER BY 4"
        return await read(connection, query, *times)

    first, last = candles[570][0], candles[580][0]
    assert await between(first, last) == candles[570:580]
    assert await between(first + 1, last + 1) == candles[571:581]
    assert await between(None, candles[2][0]) == candles[:2]
    assert await between(candles[998][0], None) == candles[998:]
    assert await between(None, None) == candles
    infinite = (
        "SELECT count(*) FROM"
        " candles_between(NULL, 'AUSDT', NULL, '-infinity', 'infinity', $1::text::timestamptz)"
    )
    for as_of, told in (("infinity", 1000), ("-infinity", 0), (None, 1000)):
        assert await connection.fetchval(infinite, as_of) == told
    here = (corrected[0], corrected[0] + 1)
    assert await between(*here, fix_ms) == [corrected]
    assert await between(*here, fix_ms - 1) == [earlier]
    assert await between(*here, earlier[7]) == [earlier]
    assert await between(*here, earlier[7] - 1) == []
    before = (START_MS - HOUR_MS, START_MS)
    assert await between(*before) == []
    assert await between(*before, loss_ms - 1) == [(START_MS - HOUR_MS, *lost[1:])]
    assert await between(*before, loss_ms) == []
    count = "SELECT count(*) FROM candles_between({})"
    counts = [
        await connection.fetchval(count.format(given))
        for given in (
            "NULL, NULL, NULL, NULL, NULL",
            "NULL, 'BUSDT', NULL, NULL, NULL",
            "NULL, NULL, '4h', NULL, NULL",
            "'bybit', NULL, NULL, NULL, NULL",
        )
    ]
    assert counts == [1001, 1, 0, 0]


async def test_what_the_service_has_stored_shows_bit_for_bit(
    connection: Connection, database_url: str
) -> None:
    """Values of every size and form, stored and compacted by the service itself."""
    rng = np.random.default_rng(8)
    times = np.sort(rng.choice(1500, 1200, replace=False)) * HOUR_MS + START_MS
    forms = [
        np.round(64_000 + rng.standard_normal((1200, 6)).cumsum(0), 2),
        np.round(rng.random((1200, 6)) * 1e-6, 10),
        rng.random((1200, 6)) / 3,
        np.round(rng.random((1200, 6)) * 1e15),
        rng.choice([0.0, 0.1, 1e22, 1e-300, 123456789.125], (1200, 6)),
    ]
    series = [
        (SeriesKey("binance", f"M{number}USDT", "candles", HOUR_MS), times, values)
        for number, values in enumerate(forms)
    ]
    interest = SeriesKey.open_interest("binance", "M0USDT")
    funding = SeriesKey.funding("binance", "M0USDT")
    late = times[:400] * 1 + rng.integers(0, 9, 400)
    series += [(interest, times, forms[0][:, :1]), (funding, late, forms[2][:400, :1] - 0.2)]
    database = Database(database_url)
    known_ms = int(times[-1]) + HOUR_MS
    for first, last in ((0, 500), (500, 1000), (1000, 1200)):
        known_ms += 77_777
        rows = [SeriesRows(key, t[first:last], v[first:last]) for key, t, v in series]
        await database.history.store([each for each in rows if len(each.times)], known_ms)
        if last == 1000:
            await database.history.compact(known_ms)
    await database.aclose()
    assert await connection.fetchval("SELECT count(*) FROM history_recent") > 0
    assert await connection.fetchval("SELECT sum(n) FROM history_chunks") > 0
    for key, t, values in series[: len(forms)]:
        found = await read(
            connection, "SELECT * FROM candles WHERE symbol = $1 ORDER BY 4", key.symbol
        )
        assert [row[:7] for row in found] == [
            (at, *line) for at, line in zip(t.tolist(), values.tolist(), strict=True)
        ]
        span = await read(
            connection,
            "SELECT * FROM candles_between(NULL, $1, '1h', NULL, NULL) ORDER BY 4",
            key.symbol,
        )
        assert span == found
    for view, _, t, values in (
        ("SELECT time_ms, open_interest FROM open_interest ORDER BY 1", *series[-2]),
        ("SELECT funding_time_ms, funding_rate FROM funding_rates ORDER BY 1", *series[-1]),
    ):
        assert await rows_of(connection, view) == list(
            zip(t.tolist(), values[:, 0].tolist(), strict=True)
        )


async def plan(connection: Connection, query: str) -> str:
    """How the server would answer, without sequential scans where anything else is possible."""
    async with connection.transaction():
        await connection.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
        )
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))


async def test_predicates_reach_the_keys(connection: Connection) -> None:
    for symbol in ("AUSDT", "BUSDT"):
        await insert(
            connection, "history_chunks", chunk(await series(connection, symbol), walk(5, 576))
        )
    by_series = await plan(
        connection,
        "SELECT * FROM candles"
        " WHERE exchange = 'binance' AND symbol = 'AUSDT' AND timeframe = '1h'",
    )
    assert "Index Cond: ((exchange = 'binance'::text) AND (symbol = 'AUSDT'::text)" in by_series
    assert "Index Scan using history_chunks_pkey on history_chunks" in by_series
    assert "Index Cond: (series_id = history_series.series_id)" in by_series
    in_time = await plan(
        connection,
        "SELECT * FROM candles_between('binance', 'AUSDT', '1h', '2026-03-01', '2026-03-03')",
    )
    (key,) = [
        line
        for line in in_time.splitlines()
        if "Index Cond" in line and "slot >= " in line and "slot <= " in line
    ]
    assert "(series_id = history_series.series_id)" in key
    assert "Index Cond: ((t >= " in in_time  # of history_recent
    assert "history_revisions" not in in_time
    between = "SELECT * FROM {}_between('binance', 'AUSDT', '2026-03-01', '2026-03-03')"
    for name in ("open_interest", "funding_rates"):
        points = await plan(connection, between.format(name))
        assert "slot >= " in points and "Index Scan using history_point_chunks_pkey" in points


async def test_open_interest_and_funding(connection: Connection) -> None:
    interest = await series(connection, "AUSDT", "open_interest", 300_000)
    funding = await series(connection, "AUSDT", "funding", 8 * HOUR_MS)
    slot_ms = 576 * 300_000
    await insert(
        connection,
        "history_point_chunks",
        {
            **{"series_id": interest, "slot": START_MS // slot_ms, "format": 1, "n": 3},
            **{"first_t": START_MS, "last_t": START_MS + 600_000, "step_ms": 300_000},
            **{"newest_known_at": START_MS + 999_999, "checksum": 0, "known_base": 999_999},
            **{"known_int2": [0, 1, 2], "value_base": 10**15, "value_decimals": 3},
            "value_int2": [1, -1, 0],
        },
    )
    settled = [START_MS + 3, START_MS + 4 * HOUR_MS, START_MS + 12 * HOUR_MS + 5]
    await insert(
        connection,
        "history_point_chunks",
        {
            **{"series_id": funding, "slot": START_MS // (8 * HOUR_MS * 576), "format": 1, "n": 3},
            **{"first_t": settled[0], "last_t": settled[-1], "step_ms": 1},
            **{"newest_known_at": START_MS, "checksum": 0, "known_base": START_MS, "value_base": 0},
            "steps_int4": [t - settled[0] for t in settled],
            "value_float8": [1e-05, -0.000123, 0.0],
        },
    )
    await connection.execute(
        "INSERT INTO history_recent_points (series_id, t, value, known_at) VALUES ($1, $2, 7, $3)",
        *(funding, START_MS + 20 * HOUR_MS, START_MS + 21 * HOUR_MS),
    )
    snapshots = [
        ("binance", "AUSDT", moment(t), t, value, moment(known), known)
        for t, value, known in (
            (START_MS, 1_000_000_000_000.001, START_MS + 999_999),
            (START_MS + 300_000, 999_999_999_999.999, START_MS + 1_300_000),
            (START_MS + 600_000, 1e12, START_MS + 1_600_001),
        )
    ]
    assert await rows_of(connection, "SELECT * FROM open_interest ORDER BY time") == snapshots
    found = await connection.fetch("SELECT * FROM funding_rates ORDER BY funding_time")
    assert [(row["funding_time_ms"], row["funding_rate"]) for row in found] == [
        *zip(settled, (1e-05, -0.000123, 0.0), strict=True),
        (START_MS + 20 * HOUR_MS, 7.0),
    ]
    assert found[0]["funding_time"] == moment(settled[0])
    between = "SELECT funding_time_ms FROM funding_rates_between(NULL, 'AUSDT', $1, $2, $3)"
    late = await connection.fetch(between, moment(settled[1]), moment(settled[2]), None)
    assert [row[0] for row in late] == [settled[1]]
    known = await connection.fetch(between, None, None, moment(START_MS))
    assert sorted(row[0] for row in known) == settled
    one = "SELECT * FROM open_interest_between('binance', 'AUSDT', $1, $2)"
    assert await rows_of(connection, one, moment(START_MS + 1), moment(START_MS + 300_001)) == [
        snapshots[1]
    ]


async def test_the_last_day_of_each_market(connection: Connection) -> None:
    candles = walk(6, 700)
    one, left = await series(connection, "AUSDT"), await series(connection, "GONEUSDT")
    longer = await series(connection, "AUSDT", interval_ms=4 * HOUR_MS)
    await insert(connection, "history_chunks", chunk(one, candles[:576]))
    await recent(connection, one, candles[576:])
    await recent(connection, left, candles[:30])
    await recent(connection, longer, walk(7, 175, step_ms=4 * HOUR_MS))
    # A finer timeframe that is collected no more.
    ended = await series(connection, "AUSDT", interval_ms=300_000)
    await recent(connection, ended, walk(8, 5, step_ms=300_000))
    day = candles[-24:]
    (found,) = await connection.fetch("SELECT * FROM cached_market_data")
    assert dict(found) == {
        "symbol": "AUSDT",
        "price": day[-1][4],
        "market_cap": None,
        "volume_24h": pytest.approx(sum(candle[6] for candle in day), rel=1e-12),
        "change_24h": pytest.approx((day[-1][4] / day[0][1] - 1) * 100, rel=1e-9),
        "high_24h": max(candle[2] for candle in day),
        "low_24h": min(candle[3] for candle in day),
        "provider": "binance",
        "fetched_at": moment(day[-1][7]),
    }
    await connection.execute("DELETE FROM history_recent")  # as if all were in chunks
    (found,) = await connection.fetch("SELECT * FROM cached_market_data")
    assert (found["price"], found["fetched_at"]) == (candles[575][4], moment(candles[575][7]))


async def test_the_schedule(connection: Connection) -> None:
    await connection.execute("INSERT INTO discoveries VALUES ('bybit', $1, 400)", START_MS)
    (found,) = await connection.fetch("SELECT * FROM schedule_config")
    assert dict(found) == {
        **{"name": "discovery", "provider_id": "bybit", "schedule_interval": "every_1_day"},
        **{
            "enabled": True,
            "last_run": moment(START_MS),
            "next_run": moment(START_MS + 24 * HOUR_MS),
        },
        **dict.fromkeys(("on_time_count", "late_count", "skip_count")),
    }


async def test_names_of_others_are_left_alone(empty_database_url: str) -> None:
    theirs = await asyncpg.connect(empty_database_url, timeout=10)
    await theirs.execute(
        "CREATE TABLE candles (mine text); INSERT INTO candles VALUES ('kept');"
        " CREATE TYPE cached_ohlc AS ENUM ('kept');"
        " CREATE FUNCTION candles_between(text) RETURNS text LANGUAGE sql AS 'SELECT $1'"
    )
    database = Database(empty_database_url)
    try:
        with capture_logs() as logs:
            await database.open()
    finally:
        await database.aclose()
    told = [log["reason"] for log in logs if log["event"] == "migration_warning"]
    assert [reason.split()[2] for reason in told] == ["candles", "cached_ohlc", "candles_between"]
    assert await rows_of(theirs, "SELECT * FROM candles") == [("kept",)]
    assert await theirs.fetchval("SELECT candles_between('kept')") == "kept"
    assert await theirs.fetchval("SELECT count(*) FROM open_interest") == 0
    # Once the names are free, the same file makes what is missing, and nothing twice.
    await theirs.execute("ALTER TABLE candles RENAME TO my_candles")
    file = (MIGRATIONS / "0007_history_views.sql").read_text(encoding="utf-8")
    await theirs.execute(file)
    await theirs.execute(file)
    assert await theirs.fetchval("SELECT count(*) FROM candles") == 0
    await theirs.close()


async def test_functions_find_their_tables_by_any_path(empty_database_url: str) -> None:
    """The tables may be in a schema of their own, which whoever asks does not have in the path."""
    own = await asyncpg.connect(empty_database_url, timeout=10)
    await own.execute('CREATE SCHEMA "our own"')
    database = Database(f"{empty_database_url}&schema=our%20own")
    await database.open()
    await database.aclose()
    query = 'SELECT count(*) FROM "our own".{}_between({}NULL, NULL, NULL, NULL)'
    for name, more in (("candles", "NULL, "), ("open_interest", ""), ("funding_rates", "")):
        assert await own.fetchval(query.format(name, more)) == 0
    await own.close()
