"""The disk of the record: what a market takes in a month, with all that is kept of it."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import numpy as np

from benchmarks.benchmark_run import BenchmarkRun
from benchmarks.documents import symbol
from benchmarks.report import Row, Sample
from database import Database, FillRows, SeriesKey
from market.rows import Floats, Times
from market.timeframes import DAY_MS, HOUR_MS, Timeframe

_END: Final = 1_772_409_600_000  # 2026-03-02
_DAYS_OF_MONTH: Final = 365.25 / 12
_NINE: Final = tuple(timeframe for timeframe in Timeframe if timeframe is not Timeframe.H8)
_LAG_MS: Final = 4_000
_FIVE_MS: Final = Timeframe.M5.interval_ms
Size = Callable[[], Awaitable[int]]  # bytes of all tables of the record
SIZE: Final = """
    SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
    WHERE relname LIKE 'history%' AND relkind = 'r'
"""


async def measure(bench: BenchmarkRun, part: str, database: Database, size: Size) -> None:
    """Fills the record of some markets with some months, as recording leaves it, and adds a row."""
    markets, days = bench.sizes.disk_markets, bench.sizes.disk_days
    bench.say("history: the disk of a market and month")
    generator = np.random.default_rng(3)
    before = await size()
    count = 0
    for number in range(markets):
        rows = list(_market(symbol(number), days, generator))
        filled = await database.history.fill(rows, "export", _END + DAY_MS)
        count += filled.added
    await database.history.compact(_END + DAY_MS)
    taken = await size() - before
    months = markets * days / _DAYS_OF_MONTH
    what = "disk of a market and month: nine timeframes, open interest and settlements"
    note = (
        f"{count / months:,.0f} values each ({taken / count:.1f} B a value, keys and all overhead "
        f"included), of {markets} markets in {days} days, with times of knowledge that differ from "
        f"candle to candle: 1000 markets take {taken / months * 12 / 1e6:.1f} GB a year"
    )
    bench.add(Row(part, what, "", "kB", [Sample(taken / months / 1000)], None, note))


def _market(name: str, days: int, generator: np.random.Generator) -> Iterator[FillRows]:
    """A walk of prices with the digits of real ones, in candles of 5m and in longer ones."""
    begin_ms = _END - days * DAY_MS
    times = np.arange(begin_ms, _END, _FIVE_MS)
    price = 10 ** generator.uniform(0, 4)
    digits = 5 - len(str(int(price)))
    n = len(times)
    close = np.round(price * np.exp(np.cumsum(generator.normal(0, 0.002, n))), digits)
    opened = np.append(close[:1], close[:-1])
    reach = np.abs(generator.normal(0, 0.001, (2, n)))
    high = np.round(np.maximum(opened, close) * (1 + reach[0]), digits)
    low = np.round(np.minimum(opened, close) * (1 - reach[1]), digits)
    volume = np.round(generator.lognormal(9, 1.5, n), 1)
    candles = np.column_stack([opened, high, low, close, volume, np.round(volume * close, 4)])
    for timeframe in _NINE:
        key = SeriesKey.candles("binance", name, timeframe)
        yield _rows(key, *_longer(times, candles, timeframe.interval_ms), generator)
    interest = np.round(1e6 * np.exp(np.cumsum(generator.normal(0, 0.002, n))), 1)[:, None]
    yield _rows(SeriesKey.open_interest("binance", name), times, interest, generator)
    settled = np.arange(begin_ms, _END, 8 * HOUR_MS)
    rates = np.round(generator.normal(1e-4, 5e-5, (len(settled), 1)), 8)
    late = settled + generator.integers(0, 12, len(settled))
    yield _rows(SeriesKey.funding("binance", name), late, rates, generator)


def _longer(times: Times, candles: Floats, interval_ms: int) -> tuple[Times, Floats]:
    parts = candles.reshape(-1, interval_ms // _FIVE_MS, 6)
    opened, close = parts[:, 0, 0], parts[:, -1, 3]
    high, low = parts[:, :, 1].max(1), parts[:, :, 2].min(1)
    volume, turnover = np.round(parts[:, :, 4].sum(1), 1), np.round(parts[:, :, 5].sum(1), 4)
    longer = np.column_stack([opened, high, low, close, volume, turnover])
    return times[:: interval_ms // _FIVE_MS], longer


def _rows(key: SeriesKey, times: Times, values: Floats, generator: np.random.Generator) -> FillRows:
    """As documents make it: each is known some seconds after the close, never the same."""
    after_ms = key.interval_ms if key.kind == "candles" else 0
    lags = generator.integers(_LAG_MS // 2, 2 * _LAG_MS, len(times))
    end_ms = int(times[-1]) + 1
    return FillRows(key, int(times[0]), end_ms, times, values, times + after_ms + lags)
