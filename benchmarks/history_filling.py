"""The rows of filling in the record: rows a second of backfills and imports, beside a bare COPY."""

import time
from io import BytesIO
from typing import Final

import asyncpg
import numpy as np

from benchmarks.benchmark_run import BenchmarkRun
from benchmarks.documents import symbol
from benchmarks.report import Row, Sample, Target
from database import Database, FillRows, SeriesKey
from market.timeframes import Timeframe
from stores.cold.history.arrays import copy_columns, copy_text

_INTERVAL_MS: Final = Timeframe.M5.interval_ms
_FIRST_MS: Final = 1_735_689_600_000  # 2025-01-01
_NOW_MS: Final = 1_772_409_600_000  # 2026-03-02
_PAGE: Final = 499
_PAGES: Final = 20  # of one transaction
_BARE: Final = """
    DROP TABLE IF EXISTS bare_rows;
    CREATE TABLE bare_rows (open float8, high float8, low float8, close float8, volume float8,
        turnover float8, t bigint, known_at bigint, series_id int{key})
"""
_KEY: Final = ", PRIMARY KEY (t, series_id)"


async def measure(
    bench: BenchmarkRun,
    part: str,
    database: Database,
    connection: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """Adds the rows to `bench`, as some of that part; `connection`: to the same database."""
    count = bench.sizes.filled_rows
    bench.say(f"history: filling in {count} candles")
    at_once, keyless, in_pages, again = [], [], [], []
    for number in range(bench.sizes.runs):
        rows = _candles(count, number)
        bare = count / await _copy_s(connection, rows, _KEY)
        found = count / await _fill_s(database, [[rows]], 0)
        at_once.append(Sample(found, bare))
        keyless.append(Sample(found, count / await _copy_s(connection, rows, "")))
        again.append(Sample(count / await _fill_s(database, [[rows]], 1), bare))
        pages = _pages(_candles(count, bench.sizes.runs + number))
        in_pages.append(Sample(count / await _fill_s(database, pages, 0), bare))
    against = "COPY of the same rows into a bare table with the key (t, series_id)"
    what = f"filling in {count} candles of 5m of one market"
    target = Target(">=", 0.5)
    note = "in one call, as an import does; with their coverage and where they came from"
    bench.add(Row(part, what, against, "rows/s", at_once, target, note))
    without = "COPY of the same rows into a bare table without a key"
    bench.add(Row(part, what, without, "rows/s", keyless))
    note = f"as a backfill does: pages of {_PAGE}, newest first, {_PAGES} to a transaction"
    bench.add(Row(part, f"{what}, page by page", against, "rows/s", in_pages, target, note))
    note = "nothing changes"
    bench.add(Row(part, f"{what} again", against, "rows/s", again, note=note))


def _candles(count: int, number: int) -> FillRows:
    """A market with the digits of a real one."""
    chance = np.random.default_rng(number)
    times = _FIRST_MS + _INTERVAL_MS * np.arange(count, dtype=np.int64)
    close = np.round(86_000 * np.exp(np.cumsum(chance.normal(0, 1e-3, count))), 1)
    open_ = np.append(close[:1], close[:-1])
    high = np.round(np.maximum(open_, close) * (1 + np.abs(chance.normal(0, 5e-4, count))), 1)
    low = np.round(np.minimum(open_, close) * (1 - np.abs(chance.normal(0, 5e-4, count))), 1)
    volume = np.round(chance.lognormal(3, 1, count), 3)
    values = np.column_stack([open_, high, low, close, volume, np.round(volume * close, 4)])
    key = SeriesKey.candles("binance", symbol(number), Timeframe.M5)
    end_ms = int(times[-1]) + _INTERVAL_MS
    return FillRows(key, int(times[0]), end_ms, times, values, covered=True)


def _pages(rows: FillRows) -> list[list[FillRows]]:
    """The same page by page, newest first, and the pages of each transaction."""
    ends = range(len(rows.times), 0, -_PAGE)
    pages = []
    for end in ends:
        lines = slice(max(0, end - _PAGE), end)
        times = rows.times[lines]
        first_ms, end_ms = int(times[0]), int(times[-1]) + _INTERVAL_MS
        pages.append(FillRows(rows.key, first_ms, end_ms, times, rows.values[lines], covered=True))
    return [pages[begin : begin + _PAGES] for begin in range(0, len(pages), _PAGES)]


async def _fill_s(database: Database, calls: list[list[FillRows]], later_ms: int) -> float:
    began_s = time.perf_counter()
    for rows in calls:
        await database.history.fill(rows, "rest", _NOW_MS + later_ms)
    return time.perf_counter() - began_s


async def _copy_s(
    connection: "asyncpg.Connection[asyncpg.Record]", rows: FillRows, key: str
) -> float:
    await connection.execute(_BARE.format(key=key))
    began_s = time.perf_counter()
    count = len(rows.times)
    columns = (*rows.values.T, rows.times, np.full(count, _NOW_MS), np.full(count, 1, np.int32))
    content = BytesIO(copy_text([copy_columns(columns)]))
    await connection.copy_to_table("bare_rows", source=content, format="binary")
    return time.perf_counter() - began_s
