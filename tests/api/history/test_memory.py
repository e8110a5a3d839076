"""A million rows over HTTP, in memory that does not grow with them."""

import asyncio
import ctypes
import gc
import os
from typing import Final

import numpy as np
import psutil
import pytest

from database import Database, SeriesKey, SeriesRows
from market.timeframes import Timeframe
from tests.fixtures.api import ServedApi, StartApi, get

pytestmark = pytest.mark.slow

ROWS: Final = 1_000_000
AT_ONCE: Final = 50_000
MOST_BYTES: Final = 64 * 2**20
ROUTE: Final = "/api/historical/candles/binance/BTCUSDT?timeframe=5m"


@pytest.fixture
async def api(start_api: StartApi, redis_url: str, database_url: str) -> ServedApi:
    """An API whose database has a million candles, with open interest and funding."""
    database = Database(database_url, write_s=120, read_s=30)
    chance = np.random.default_rng(1)
    times = Timeframe.M5.interval_ms * np.arange(ROWS, dtype=np.int64)
    values = np.round(chance.lognormal(size=(ROWS, 6)), 4)
    interest = SeriesKey.open_interest("binance", "BTCUSDT")
    key = SeriesKey.candles("binance", "BTCUSDT", Timeframe.M5)
    for begin in range(0, ROWS, AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        rows = [
            SeriesRows(key, times[part], values[part]),
            SeriesRows(interest, times[part], values[part, :1]),
        ]
        await database.history.store(rows, int(times[-1]))
        await database.history.compact(int(times[-1]) + 1)
    settled = times[:: 8 * 12]
    funding = SeriesKey.funding("binance", "BTCUSDT")
    await database.history.store([SeriesRows(funding, settled, values[: len(settled), :1])], 1)
    await database.aclose()
    return await start_api(redis_url=redis_url, dsn=database_url)


async def test_a_million_rows_in_bounded_memory(api: ServedApi) -> None:
    for format_ in ("arrow", "csv", "json", "ndjson", "parquet"):
        await get(api, f"{ROUTE}&limit=20000&format={format_}")  # what is loaded once
    process = psutil.Process()
    for format_ in ("arrow", "csv", "json", "ndjson", "parquet"):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before = process.memory_info().rss
        url = f"http://127.0.0.1:{api.port}{ROUTE}&format={format_}"
        curl = await asyncio.create_subprocess_exec(
            *("curl", "-fsS", "--compressed", "-o", os.devnull, "-w", "%header{x-rows}", url),
            stdout=asyncio.subprocess.PIPE,
        )
        reading = asyncio.create_task(curl.communicate())
        most = 0
        while not reading.done():
            most = max(most, process.memory_info().rss - before)
            await asyncio.sleep(0.01)
        assert (await reading)[0] == str(ROWS).encode()
        assert curl.returncode == 0
        print(format_, most // 2**20, "MB")  # noqa: T201 - of a test that is run by hand
        assert most < MOST_BYTES, format_
