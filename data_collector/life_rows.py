"""Which rows, snapshots and settlements are of a market's present life (market/lives.py)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from data_collector.task_builder import LONGEST_FUNDING_STEP_MS
from market.candles import Candle, Candles
from market.columns import TIME, column_index
from market.markets import FundingSeries, Market
from market.rows import Floats, Rows, Times, first_time
from market.settlements import settlement_instant
from market.timeframes import DAY_MS

_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")


def first_of_life(market: Market, times: Times, volumes: Floats, interval_ms: int) -> int:
    """The index of the first row of the market's present life; its rows ascend by open time.

    A candle that ended at or before `since_ms` is of an earlier life. Where none is known, candles
    that ended before the launch time are kept, because lists may tell it days late, unless nothing
    was traded between: no volume, or none for a day.
    """
    if market.since_ms:
        return _ended_by(times, market.since_ms, interval_ms)
    launched = _ended_by(times, market.launched_ms, interval_ms) if market.launched_ms else 0
    if not launched:
        return 0
    traded = np.flatnonzero(volumes[:launched] > 0)
    if not len(traded):
        return launched
    ends = times[traded] + interval_ms
    next_begins = np.append(times[traded[1:]], market.launched_ms)
    gaps = np.flatnonzero(next_begins - ends >= DAY_MS)
    if len(gaps):
        last = int(gaps[-1])
        return int(traded[last + 1]) if last + 1 < len(traded) else launched
    leading_ms = int(times[traded[0]] - times[0])
    return int(traded[0]) if leading_ms >= DAY_MS else 0


def begin_of_life(market: Market, first_ms: int, interval_ms: int) -> int:
    """What is older than this, such as a snapshot of open interest, is not of the present life.

    `first_ms`: the open time of the life's first row. 0: unknown.
    """
    late = first_ms + interval_ms <= market.launched_ms  # a launch time that is told days late
    return market.since_ms if market.since_ms or late else market.launched_ms


def candles_of_life(
    market: Market, reused: Rows, candles: Sequence[Candle], interval_ms: int
) -> Sequence[Candle] | None:
    """The fetched candles of the present life; None if rows reused before them are not of it."""
    fetched = Candles.of(candles)
    times = np.concatenate((reused.times, fetched.times))
    if not len(times) or not _may_be_older(market, int(times[0]), interval_ms):
        return candles
    volumes = np.concatenate((reused.column("volume"), fetched.column("volume")))
    first = first_of_life(market, times, volumes, interval_ms)
    if first and len(reused):
        return None
    return fetched.select(slice(first, None)) if first else candles


def is_of_life(market: Market, rows: Rows, interval_ms: int) -> bool:
    """Whether no row is older than the market's present life."""
    if not len(rows) or not _may_be_older(market, int(rows.times[0]), interval_ms):
        return True
    return not first_of_life(market, rows.times, rows.column("volume"), interval_ms)


def rows_of_life(market: Market, rows: Rows, interval_ms: int, source_ms: int) -> Rows:
    """The rows of an older document that are of the present life.

    `source_ms`: the interval of the candles that they were made from. One that mixes candles of
    two lives is left out; snapshots and rates of before become null.
    """
    if is_of_life(market, rows, interval_ms):
        return rows
    first = first_of_life(market, rows.times, rows.column("volume"), interval_ms)
    begin_ms = market.since_ms or market.launched_ms
    if first < len(rows):
        opened_ms = int(rows.times[first])
        first += opened_ms + source_ms <= begin_ms < opened_ms + interval_ms
    kept = Rows(rows.times[first:], rows.values[first:].copy())
    if len(kept):
        begin_ms = begin_of_life(market, int(kept.times[0]), interval_ms)
        kept.values[kept.times < begin_ms, _INTEREST] = np.nan
        kept.values[kept.times + interval_ms <= begin_ms + LONGEST_FUNDING_STEP_MS, _RATE] = np.nan
    return kept


def settlements_of_life(series: FundingSeries, begin_ms: int) -> FundingSeries:
    """The settlements after the moment at which the present life began; one at that very instant
    is of the life before."""
    rows = series.rows
    if not begin_ms or not len(rows) or settlement_instant(first_time(rows)) > begin_ms:
        return series
    kept = [row for row in rows if settlement_instant(row[TIME]) > begin_ms]
    left_out = (row for row in series.left_out if settlement_instant(row.time_ms) > begin_ms)
    return replace(series, rows=kept, left_out=tuple(left_out))


def _may_be_older(market: Market, first_ms: int, interval_ms: int) -> bool:
    return first_ms + interval_ms <= max(market.since_ms, market.launched_ms)


def _ended_by(times: Times, moment_ms: int, interval_ms: int) -> int:
    """How many candles ended at or before the moment."""
    return int(np.searchsorted(times, moment_ms - interval_ms, side="right"))
