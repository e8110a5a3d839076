"""Upkeep of the record: rows of an hour ago are packed, old ones go if a setting says so."""

import numpy as np

from config import load_settings
from database import Database, SeriesKey, SeriesRows
from history.upkeep import CHECK_DAYS, check_share, keep
from market.timeframes import DAY_MS, HOUR_MS, Timeframe

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
        done = await keep(history, settings.retention_days, NOW_MS)
        assert done.compacted.rows == 9 * 70
        assert (done.retained.chunks, done.retained.rows) == (3, 0)
        async with history.snapshot() as snapshot:
            found = await snapshot.versions([m5, h1, interest], 0, 10**15)
        assert [len(found[key].times) for key in (m5, h1, interest)] == [210, 210, 70]
        again = await keep(history, load_settings().retention_days, NOW_MS + 2 * HOUR_MS)
        assert (again.compacted.rows, again.retained.chunks) == (70, 0)
        assert (await history.check()).faults == ()
    finally:
        await database.aclose()


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
