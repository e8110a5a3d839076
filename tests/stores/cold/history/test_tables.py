"""The record's tables: one transaction for a publish, damage that is told, removal of old slots."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import numpy as np
import orjson
import pytest

from database import Database, DatabaseUnavailable, FillRows, Hole, SeriesKey, SeriesRows
from market.timeframes import MINUTE_MS, Timeframe
from stores.cold.history.series import CHUNK_INSTANTS
from stores.cold.pool import Connection
from tests.fixtures.postgres import DatabaseIn

M5 = 5 * MINUTE_MS
SLOT_MS = M5 * CHUNK_INSTANTS
T0 = 1_700_000_000_000 // SLOT_MS * SLOT_MS
KEY = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
OI = SeriesKey.open_interest("binance", "BTCUSDT")
CANDLE = (100.5, 101.25, 99.75, 100.0, 12.5, 1253.125)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    found = Database(database_url)
    yield found
    await found.aclose()


@pytest.fixture
async def connection(
    database: Database, database_url: str
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    await database.open()
    found = await asyncpg.connect(database_url, timeout=30)
    yield found
    await found.close()


def candles(count: int, *, first: int = 0, key: SeriesKey = KEY) -> SeriesRows:
    times = T0 + M5 * np.arange(first, first + count, dtype=np.int64)
    numbers = np.arange(first, first + count, dtype=np.float64)
    values = np.array(CANDLE[: key.width]) + numbers[:, None]
    return SeriesRows(key, times, values)


async def times_of(database: Database, key: SeriesKey = KEY) -> list[int]:
    async with database.history.snapshot() as snapshot:
        found = (await snapshot.versions([key], 0, 10**15))[key]
    assert found.values[:, 0].tolist() == [CANDLE[0] + (t - T0) // M5 for t in found.times.tolist()]
    return [(t - T0) // M5 for t in found.times.tolist()]


async def test_a_publish_and_what_is_stored_with_it_are_one_transaction(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def cursor(inside: Connection) -> None:
        await inside.execute("INSERT INTO history_stored VALUES ('5m', 7, 1, 1)")

    async def fail(inside: Connection) -> None:
        await cursor(inside)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await database.history.store([candles(3)], T0, within=fail)
    assert await times_of(database) == []
    assert await connection.fetchval("SELECT count(*) FROM history_stored") == 0
    assert await connection.fetchval("SELECT count(*) FROM history_series") == 0
    await database.history.store([candles(3)], T0, within=cursor)
    assert await times_of(database) == [0, 1, 2]
    assert await connection.fetchval("SELECT version FROM history_stored") == 7


async def test_a_reader_sees_neither_loss_nor_doubles_while_rows_move_into_chunks(
    database: Database,
) -> None:
    both = [candles(30), candles(40, first=550), candles(30, key=OI)]
    await database.history.store(both, T0)
    keys = [KEY, OI]
    async with database.history.snapshot() as snapshot:
        stream = snapshot.stream(keys, 0, 10**15)
        streamed = [await anext(stream)]
        assert (await database.history.compact(T0 + 10**9)).rows == 100
        streamed += [part async for part in stream]
        during = await snapshot.versions(keys, 0, 10**15)
    async with database.history.snapshot() as snapshot:
        after = await snapshot.versions(keys, 0, 10**15)
    for key, wanted in ((KEY, [*range(30), *range(550, 590)]), (OI, [*range(30)])):
        told = np.concatenate([part.times for each, part in streamed if each == key])
        for times in (told, during[key].times, after[key].times):
            assert ((times - T0) // M5).tolist() == wanted
    checked = await database.history.check()
    assert (checked.series, checked.chunks, checked.rows, checked.faults) == (2, 3, 100, ())
    assert checked.holes == (Hole(KEY, T0 + 30 * M5, T0 + 550 * M5),)


async def test_a_slot_that_is_not_over_waits_for_enough_rows(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    now_ms = T0 + 20 * M5
    await database.history.store([candles(40)], now_ms)
    assert (await database.history.compact(now_ms + 1)).rows == 0
    await database.history.store([candles(40, first=40)], now_ms)
    assert (await database.history.compact(now_ms)).rows == 0  # known since then, not before
    assert (await database.history.compact(now_ms + 1)).chunks == 1
    # One more row of a slot that has a chunk waits beside it, and joins it when the slot is over.
    await database.history.store([candles(1, first=80)], now_ms + 2)
    assert await connection.fetchval("SELECT count(*) FROM history_recent") == 1
    assert (await database.history.compact(T0 + SLOT_MS)).rows == 1
    assert await times_of(database) == [*range(81)]
    assert [tuple(row) for row in await connection.fetch("SELECT n FROM history_chunks")] == [(81,)]


async def test_many_rows_of_a_slot_make_its_chunk_at_once(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.history.store([candles(10)], T0)
    stored = await database.history.store([candles(700)], T0 + 1)
    assert (stored.added, stored.unchanged) == (690, 10)
    rows = await connection.fetch("SELECT n FROM history_chunks ORDER BY slot")
    assert [row["n"] for row in rows] == [566, 124]
    assert await times_of(database) == [*range(700)]
    assert (await database.history.check()).faults == ()


async def test_series_whose_names_cannot_be_stored_cost_only_themselves(
    database: Database,
) -> None:
    names = ["币安人生USDT", "A\0USDT", "\ud800USDT", "A" * 200]
    keys = [SeriesKey.candles("binance", name, Timeframe.M5) for name in names]
    stored = await database.history.store([candles(2, key=key) for key in keys], T0)
    assert (stored.added, set(stored.refused)) == (2, set(keys[1:]))
    assert await times_of(database, keys[0]) == [0, 1]
    assert await times_of(database, keys[1]) == []


async def test_names_that_the_encoding_lacks_are_refused(database_in: DatabaseIn) -> None:
    database = Database(await database_in("LATIN1"))
    try:
        keys = [SeriesKey.candles("binance", name, Timeframe.M5) for name in ("ÄUSDT", "币USDT")]
        stored = await database.history.store([candles(2, key=key) for key in keys], T0)
        assert (stored.added, stored.refused) == (2, (keys[1],))
        assert await times_of(database, keys[0]) == [0, 1]
        assert await times_of(database, keys[1]) == []
    finally:
        await database.aclose()


@pytest.mark.parametrize(
    "rows",
    [
        SeriesRows(KEY, np.array([T0 + 1]), np.ones((1, 6))),
        SeriesRows(KEY, np.array([T0 + M5, T0]), np.ones((2, 6))),
        SeriesRows(KEY, np.array([T0, T0]), np.ones((2, 6))),
        SeriesRows(KEY, np.array([T0]), np.ones((1, 1))),
        SeriesRows(KEY, np.array([T0]), np.ones((2, 6))),
        SeriesRows(KEY, np.array([], np.int64), np.ones((0, 6)), removed=np.array([T0 + 1])),
        SeriesRows(SeriesKey.funding("bybit", "B"), np.array([T0, T0]), np.ones((2, 1))),
        SeriesRows(SeriesKey.funding("bybit", "B"), np.array([-1]), np.ones((1, 1))),
    ],
)
async def test_rows_that_cannot_be_are_refused(database: Database, rows: SeriesRows) -> None:
    with pytest.raises(ValueError, match="times"):
        await database.history.store([rows], T0)


DAMAGE = {
    "checksum": "UPDATE history_chunks SET checksum = checksum # 1",
    "values": "UPDATE history_chunks SET close_int2 = close_int2[1:7] || close_int2[7:]",
    "one value": "UPDATE history_chunks SET volume_int2[3] = 0, volume_int4[3] = 0",
    "a null": "UPDATE history_chunks SET close_int2[2] = NULL, close_int4[2] = NULL",
    "a column": "UPDATE history_chunks SET high_int2 = NULL, high_int4 = NULL",
}


@pytest.mark.parametrize("what", DAMAGE)
async def test_a_damaged_chunk_is_told_and_set_aside_by_what_is_stored_in_its_place(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]", what: str
) -> None:
    await database.history.store([candles(100), candles(100, key=OI)], T0)
    await connection.execute(DAMAGE[what])
    span = "from 2023-11-13T00:00:00Z to 2023-11-15T00:00:00Z"
    found = "the database is damaged: chunk .* of binance:BTCUSDT, candles of 300000 ms "
    found += rf"\({span}\) is damaged: it"
    async with database.history.snapshot() as snapshot:
        with pytest.raises(DatabaseUnavailable, match=found):
            await snapshot.versions([KEY], 0, 10**15)
    assert await times_of(database, OI) == [*range(100)]
    checked = await database.history.check()
    assert len(checked.faults) == len(checked.damaged) == 1
    assert checked.faults[0].startswith("chunk")
    rows = candles(120)
    stored = await database.history.store([rows, candles(120, key=OI)], T0 + 1)
    assert (stored.added, stored.unchanged) == (140, 100)
    assert (await database.history.check()).faults == ()
    async with database.history.snapshot() as snapshot:
        versions = (await snapshot.versions([KEY], 0, 10**15))[KEY]
    assert (versions.values.tolist(), set(versions.known_at)) == (rows.values.tolist(), {T0 + 1})
    told = await connection.fetchrow("SELECT * FROM history_damaged_chunks")
    assert told is not None
    assert (told["n"], told["from_t"], told["to_t"]) == (100, T0, T0 + SLOT_MS)
    assert orjson.loads(told["chunk"])["first_t"] == T0


@pytest.mark.parametrize("way", ["check", "compact", "fill"])
async def test_a_damaged_chunk_is_set_aside_once_it_is_found(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]", way: str
) -> None:
    await database.history.store([candles(100)], T0)
    covered = FillRows(KEY, T0 - M5, T0 + SLOT_MS * 2, *_nothing(), covered=True)
    await database.history.fill([covered], "rest", T0 + 1)
    await database.history.store([candles(70, first=200)], T0 + 1)
    await connection.execute("UPDATE history_chunks SET checksum = 5")
    lacking = {"check": 576, "compact": 506, "fill": 0}[way]
    if way == "check":
        await connection.execute("DELETE FROM history_recent")
        await database.history.set_aside((await database.history.check()).damaged)
    elif way == "compact":
        assert (await database.history.compact(T0 + 2)).rows == 70
    else:
        rows = candles(576)
        filling = FillRows(KEY, T0, T0 + SLOT_MS, rows.times, rows.values, covered=True)
        filled = await database.history.fill([filling], "rest", T0 + 2)
        assert (filled.added, filled.damaged) == (506, 0)
    assert (await database.history.check()).faults == ()
    assert await connection.fetchval("SELECT count(*) FROM history_damaged_chunks") == 1
    # What is lost is asked for again; nothing else is.
    missing = await database.history.missing(KEY, T0 - M5, T0 + SLOT_MS * 2)
    assert sum(to_ms - from_ms for from_ms, to_ms in missing) == lacking * M5


async def test_a_chunk_of_a_later_release_stays_as_it_is(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.history.store([candles(100)], T0)
    await connection.execute("UPDATE history_chunks SET format = 2")
    assert (await database.history.store([candles(120)], T0 + 1)).added == 20
    checked = await database.history.check()
    assert (len(checked.faults), checked.damaged) == (1, ())
    await connection.execute("UPDATE history_chunks SET format = 1")
    assert await times_of(database, KEY) == [*range(120)]


def _nothing() -> tuple[Any, Any]:
    return np.empty(0, np.int64), np.empty((0, 6))


FAULTS = {
    "is stored twice": (
        "INSERT INTO history_recent SELECT 1, 1, 1, 1, 1, 1, first_t, 1, series_id"
        " FROM history_chunks"
    ),
    "tells other times": "UPDATE history_chunks SET newest_known_at = 5",
    "were known at one time": (
        "INSERT INTO history_revisions SELECT 1, 1, 1, 1, 1, 1, first_t, 1, 10^15, series_id"
        " FROM history_chunks"
    ),
    "superseded before it was known": (
        "INSERT INTO history_revisions SELECT 1, 1, 1, 1, 1, 1, first_t, 7, 6, series_id"
        " FROM history_chunks"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_check_finds_what_must_not_be(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]", fault: str
) -> None:
    await database.history.store([candles(100)], T0)
    assert (await database.history.check()).faults == ()
    await connection.execute(FAULTS[fault])
    [found] = (await database.history.check([KEY])).faults
    assert fault in found


async def test_old_slots_go_with_all_that_was_superseded_in_them(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.history.store([candles(1300), candles(20, key=OI)], T0)
    corrected = candles(1, first=3)
    corrected.values[0, 4] = 1
    await database.history.store([corrected], T0 + 1)
    # Twice a slot and a bit: only what lies in slots that are over by then goes.
    gone = await database.history.retain("candles", M5, T0 + 2 * SLOT_MS + 100 * M5)
    assert (gone.chunks, gone.rows, gone.revisions) == (2, 0, 1)
    assert await times_of(database) == [*range(1152, 1300)]
    assert await times_of(database, OI) == [*range(20)]
    assert (await database.history.retain("candles", M5, T0)).chunks == 0
    assert (await database.history.retain("open_interest", M5, T0 + SLOT_MS)).rows == 20
    assert await times_of(database, OI) == []
    left = "SELECT count(*) FROM history_revisions"
    assert await connection.fetchval(left) == 0


async def test_a_snapshot_tells_which_series_there_are(database: Database) -> None:
    keys = [KEY, OI, SeriesKey.funding("bybit", "BTCUSDT")]
    none = np.empty(0, np.int64)
    rows = [SeriesRows(key, none, np.empty((0, key.width))) for key in keys]
    await database.history.store(rows, T0)

    async def series(**asked: str) -> Sequence[SeriesKey]:
        async with database.history.snapshot() as snapshot:
            return await snapshot.series(**asked)  # type: ignore[arg-type]

    assert await series() == sorted(keys)
    assert await series(kind="candles") == [KEY]
    assert await series(exchange="bybit") == [keys[2]]
    assert await series(symbol="ETHUSDT") == []


async def test_when_a_range_last_changed(database: Database) -> None:
    await database.history.store([candles(600), candles(3, first=600)], T0 + 1)
    corrected = candles(1, first=5)
    corrected.values[0, 4] = 1
    await database.history.store([corrected], T0 + 20)

    async def newest(first: int, end: int) -> tuple[int | None, int | None]:
        async with database.history.snapshot() as snapshot:
            asked = ([KEY], T0 + first * M5, T0 + end * M5)
            changed = await snapshot.newest_change(*asked)
            return changed, await snapshot.newest_supersession(*asked)

    assert await newest(0, 10) == (T0 + 20, T0 + 20)
    assert await newest(576, 700) == (T0 + 1, None)
    assert await newest(700, 800) == (None, None)


async def test_times_alone_are_read_without_the_values(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.history.store([candles(600)], T0 + 1)
    # Nothing of the values is looked at: damage to them is not noticed.
    await connection.execute(DAMAGE["one value"])
    async with database.history.snapshot() as snapshot:
        parts = [part async for _, part in snapshot.stream([KEY], 0, 10**15, with_values=False)]
    times = np.concatenate([part.times for part in parts])
    assert ((times - T0) // M5).tolist() == [*range(600)]
    assert {known for part in parts for known in part.known_at.tolist()} == {T0 + 1}


async def test_a_session_ends_with_its_connection(
    database: Database, connection: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.history.store([candles(3)], T0)
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    async with database.history.snapshot() as snapshot:
        assert len((await snapshot.versions([KEY], 0, 10**15))[KEY].times) == 3
        await connection.execute(others)
        with pytest.raises(DatabaseUnavailable):
            await snapshot.versions([KEY], 0, 10**15)
    # One that was lost while nobody used it is opened again.
    await connection.execute(others)
    assert await times_of(database) == [0, 1, 2]
