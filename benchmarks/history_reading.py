"""The row of reading history over HTTP: the server's CPU for an Arrow stream, and for JSON.

Both are of one API process on the same rows, as clients get them: the stream with zstd inside, JSON
with gzip, as Python's clients ask for it. The database's work is not counted.
"""

import sys
from typing import Final

import aiohttp
import numpy as np

from benchmarks.benchmark_run import BenchmarkRun, Stores, open_stores
from benchmarks.machine import ROOT, Running, running
from benchmarks.report import Row, Sample, Target
from database import Database, SeriesKey, SeriesRows
from market.timeframes import HOUR_MS, Timeframe

_TIMEFRAME: Final = Timeframe.M5
_FIRST_MS: Final = 1_577_836_800_000  # 2020-01-01
_LEAST_S: Final = 0.001  # of few rows; the kernel counts hundredths
_AT_ONCE: Final = 50_000
_ROUTE: Final = f"/api/historical/candles/binance/BTCUSDT?timeframe={_TIMEFRAME}"


async def measure(bench: BenchmarkRun, part: str) -> None:
    """Adds the row to `bench`, as one of that part."""
    rows = bench.sizes.history_rows
    bench.say(f"history: {rows} rows over HTTP")
    async with open_stores(bench.folder / "history-reading") as stores:
        await _store(stores, rows)
        env = stores.environment(DATA_DIR=str(bench.folder))
        command = [sys.executable, str(ROOT / "main.py"), "api"]
        cores = bench.cores.server
        async with running(command, cwd=bench.folder, env=env, cores=cores) as server:
            for format_ in ("arrow", "json"):  # what is loaded and connected once
                await _cpu_s(server, f"{_ROUTE}&limit=1000&format={format_}")
            samples = [
                Sample(
                    await _cpu_s(server, f"{_ROUTE}&format=arrow"),
                    await _cpu_s(server, f"{_ROUTE}&format=json"),
                )
                for _ in range(bench.sizes.runs)
            ]
    bench.add(
        Row(
            part,
            f"{rows / 1e6:g} M rows of history as Arrow: CPU of the API",
            "the same rows as JSON, gzip",
            "s",
            samples,
            Target("<=", 1 / 3),
        )
    )


async def _store(stores: Stores, rows: int) -> None:
    """Candles with the digits of a market, open interest for each, funding every eight hours."""
    chance = np.random.default_rng(1)
    times = _FIRST_MS + _TIMEFRAME.interval_ms * np.arange(rows, dtype=np.int64)
    close = np.round(86_000 * np.exp(np.cumsum(chance.normal(0, 1e-3, rows))), 1)
    values = np.column_stack([close, close + 20.5, close - 20.5, close + 1.1, close, close])
    values[:, 4] = np.round(chance.lognormal(3, 1, rows), 3)
    values[:, 5] = np.round(values[:, 4] * close, 4)
    interest = np.round(90_000 + np.cumsum(chance.normal(0, 10, rows)), 3)
    settled = times[times % (8 * HOUR_MS) == 0]
    rates = np.round(chance.normal(0, 1e-4, len(settled)), 8)
    known_ms = int(times[-1])
    key = SeriesKey.candles("binance", "BTCUSDT", _TIMEFRAME)
    database = Database(stores.database_url, write_s=120)
    try:
        for begin in range(0, rows, _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            await database.history.store(
                [
                    SeriesRows(key, times[part], values[part]),
                    SeriesRows(
                        SeriesKey.open_interest("binance", "BTCUSDT"),
                        times[part],
                        interest[part, None],
                    ),
                ],
                known_ms,
            )
        funding = SeriesKey.funding("binance", "BTCUSDT")
        await database.history.store([SeriesRows(funding, settled, rates[:, None])], known_ms)
        await database.history.compact(known_ms + 1)
    finally:
        await database.aclose()


async def _cpu_s(server: Running, address: str) -> float:
    """What the server's process takes for one answer."""
    before = server.cpu_s()
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.get(server.address + address) as answer,
    ):
        answer.raise_for_status()
        async for _ in answer.content.iter_chunked(1 << 20):
            pass
    return max(server.cpu_s() - before, _LEAST_S)
