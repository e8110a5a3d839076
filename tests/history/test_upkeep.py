"""Upkeep of the record: rows of an hour ago are packed, old ones go if a setting says so."""

from functools import partial

import asyncpg
import numpy as np

from config import load_settings
from database import Database, Publish, SeriesKey, SeriesRows, write_publish
from history.upkeep import CHECK_DAYS, check_share, compact, retain
from market.timeframes import DAY_MS, HOUR_MS, Timeframe
from stores.cold.pool import Connection

NOW_MS = 868 * 24 * DAY_MS  # where slots of 5m and of 1h end


async def test_what_is_old_is_packed_and_what_is_too_old_is_removed(database_url: str) -> None:
    database = Database(database_url)
    history = database.history
    settings = load_settings(retention_5m_days=30, retention_open_interest_days=10)
    m5 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
    h1 = SeriesKey.candles("binance", "BTCUSDT", Timeframe.H1)
    interest = SeriesKey.open_interest("binance", "BTCUSDT")

    def rows(key: SeriesKey, days_ago: int) -> SeriesRows:
        last = (NOW_MS - days_ago * DAY_MS) // key.interval_ms * key.interval_ms
        times = last + key.interval_ms * np.arange(-70, 0, dtype=np.int64)
        return SeriesRows(key, times, np.ones((70, key.width)))

    try:
        for days_ago in (35, 29, 0):
            known_at_ms = NOW_MS - days_ago * DAY_MS - 2 * HOUR_MS
            await history.store([rows(key, days_ago) for key in (m5, h1, interest)], known_at_ms)
        await history.store([rows(m5, 3)], NOW_MS)  # known since less than an hour
        assert (await compact(history, NOW_MS)).rows == 9 * 70
        done = await retain(history, database.publishes, settings.retention_days, NOW_MS)
        assert (done.retained.chunks, done.retained.rows) == (3, 0)
        async with history.snapshot() as snapshot:
            found = await snapshot.versions([m5, h1, interest], 0, 10**15)
        assert [len(found[key].times) for key in (m5, h1, interest)] == [210, 210, 70]
        later_ms = NOW_MS + 2 * HOUR_MS
        assert (await compact(history, later_ms)).rows == 70
        days = load_settings().retention_days
        again = await retain(history, database.publishes, days, later_ms)
        assert again.retained.chunks == 0
        assert (await history.check()).faults == ()
    finally:
        await database.aclose()


async def test_publishes_leave_once_their_rows_have(database_url: str) -> None:
    database = Database(database_url)
    settings = load_settings(retention_5m_days=11, retention_funding_days=1)
    ages = {"5m": (30, 13, 12, 11, 0), "1h": (30, 0), "global_fr": (300,)}
    session: asyncpg.Connection[asyncpg.Record] | None = None
    try:
        for document, days_ago in ages.items():
            base = None
            for days in days_ago:
                at_ms = NOW_MS - days * DAY_MS - HOUR_MS
                market = "binance", f"{document}{days // 12}USDT", "A", "USDT"
                publish = Publish(
                    *(document, base, at_ms, at_ms, at_ms - 5, at_ms - DAY_MS, 1, None),
                    *([market], [], [], b"entry"),
                )
                await database.history.store([], at_ms, within=partial(written, publish))
                base = at_ms
        # Slots of 5m have 2 days: one has ended 12 days ago, and the next one ends 10 days ago.
        done = await retain(database.history, database.publishes, settings.retention_days, NOW_MS)
        assert done.publishes == 3
        session = await asyncpg.connect(database_url, timeout=30)
        left = await session.fetch("SELECT document, version FROM history_publishes")
        assert sorted((name, (NOW_MS - at_ms) // DAY_MS) for name, at_ms in left) == [
            *(("1h", 0), ("1h", 30), ("5m", 0), ("5m", 11), ("global_fr", 300)),
        ]
        lists = await session.fetch("SELECT markets->0->>1 FROM history_universes ORDER BY 1")
        assert [name for (name,) in lists] == ["1h0USDT", "1h2USDT", "5m0USDT", "global_fr25USDT"]
    finally:
        if session is not None:
            await session.close()
        await database.aclose()


async def written(publish: Publish, connection: Connection) -> None:
    await write_publish(connection, publish, publish.updated_at_ms)


async def test_each_series_is_checked_once_in_a_round_of_days(database_url: str) -> None:
    database = Database(database_url)
    history = database.history
    keys = [SeriesKey.candles("binance", f"A{n}USDT", Timeframe.M5) for n in range(70)]
    times = NOW_MS + Timeframe.M5.interval_ms * np.arange(100, dtype=np.int64)
    try:
        rows = [SeriesRows(key, times, np.ones((100, 6))) for key in keys]
        await history.store(rows, NOW_MS)
        found = [await check_share(history, NOW_MS + day * DAY_MS) for day in range(CHECK_DAYS)]
        assert [sum(each.series for each in found), sum(each.rows for each in found)] == [70, 7000]
        assert {each.series for each in found} == {2, 3}
        assert [fault for each in found for fault in each.faults] == []
        # Later rounds begin elsewhere, and time that is over ends a check.
        later = await check_share(history, NOW_MS + 7 * CHECK_DAYS * DAY_MS)
        assert later.series == found[0].series
        assert (await check_share(history, NOW_MS, seconds=0)).series == 0
    finally:
        await database.aclose()
