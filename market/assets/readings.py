"""What is read of each market: its closed 5m candles, its open interest, and the common instant.

An instant is the end of a candle: the price then is the candle's close, and the open interest the
snapshot stamped with it.
"""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import fsum, isfinite, isnan
from operator import itemgetter
from typing import Final

import numpy as np

from market.assets.figures import CHANGES_MS, Funding, Turnover
from market.base import STEP_MS, Base
from market.columns import TIME, column_index
from market.markets import FundingRow, FundingSeries, Market, MarketSeries
from market.rows import Floats, Rows, TimedValues, Times
from market.settlements import not_checked_ahead, settlement_instant
from market.timeframes import DAY_MS, HOUR_MS, MINUTE_MS, Timeframe

_CLOSE: Final = column_index("close")
_INTEREST: Final = column_index("open_interest")
_TURNOVER: Final = column_index("turnover")
YEAR_HOURS: Final = 365 * 24
NORMAL_HOURS: Final = 8
_LEAST_PRICE: Final = 1e-300  # one coin of 10**9 has a price, too
# Snapshots of the newest instant come some seconds to minutes after it. It is the common one as
# soon as nine of ten markets have theirs that had one 5 minutes before.
_ENOUGH: Final = (9, 10)


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """The closed 5m candles of a market, of which at least a day is wanted, and its open interest
    (base units; NaN where it is not known). `stale_since_ms`: since when they are carried over from
    before, or None."""

    market: Market
    candles: Rows
    interest: TimedValues
    stale_since_ms: int | None = None

    @classmethod
    def of_base(cls, market: Market, base: Base) -> "MarketHistory":
        """Of a base: the candles that were seen closed."""
        seen = base.there & base.known & (base.times + STEP_MS <= base.as_of_ms)
        count = int(seen.sum())
        lines = slice(count) if seen[:count].all() else np.flatnonzero(seen)
        interest = TimedValues(base.times, base.values[:, _INTEREST, None])
        return cls(market, Rows(base.times, base.values).select(lines), interest)

    @classmethod
    def of_series(cls, series: MarketSeries, as_of_ms: int) -> "MarketHistory":
        """Of the rows of the 5m document at `as_of_ms`."""
        rows = Rows.of(series.rows)
        closed = rows.between(0, Timeframe.M5.last_closed_open_time(as_of_ms))
        interest = rows.non_null("open_interest")
        return cls(series.market, closed, interest, series.stale_since_ms)

    @property
    def closed_ms(self) -> int | None:
        """When its last closed candle ended."""
        return int(self.candles.times[-1]) + STEP_MS if len(self.candles) else None


def common_instant(histories: Collection[MarketHistory]) -> tuple[int, int] | None:
    """The instant of which everything is told, and when the newest candle of all ended: the same,
    or 5 minutes later, while open interest of that instant is still to come. None without any
    closed candle."""
    newest_ms = max((ms for each in histories if (ms := each.closed_ms) is not None), default=None)
    if newest_ms is None:
        return None
    before = now = 0
    for each in histories:
        if each.closed_ms == newest_ms and each.stale_since_ms is None:
            times, numbers = each.interest.times, each.interest.numbers
            before += _value_at(times, numbers, newest_ms - STEP_MS) is not None
            now += _value_at(times, numbers, newest_ms) is not None
    enough, of = _ENOUGH
    return (newest_ms if of * now >= enough * before else newest_ms - STEP_MS), newest_ms


@dataclass(frozen=True, slots=True)
class Reading:
    """A market at an instant and at those before it that CHANGES_MS names, in its order: `prices`
    of a base unit and `interest` in base units, None where not known."""

    prices: Sequence[float | None]
    interest: Sequence[float | None]
    turnover: Turnover | None


def reading_of(history: MarketHistory, at_ms: int) -> Reading:
    """What the market says of `at_ms` and before."""
    candles, interest = history.candles, history.interest
    closes, numbers = candles.values[:, _CLOSE], interest.numbers
    instants = (at_ms, *(at_ms - back_ms for back_ms in CHANGES_MS.values()))
    prices = [_value_at(candles.times, closes, instant - STEP_MS) for instant in instants]
    snapshots = [_value_at(interest.times, numbers, instant) for instant in instants]
    begin = bisect_left(candles.times, at_ms - DAY_MS)
    end = bisect_left(candles.times, at_ms)
    turnover = None
    if begin < end:
        day = candles.values[begin:end, _TURNOVER].tolist()
        turnover = Turnover(fsum(day), len(day))
    return Reading(
        [price if price is not None and price > _LEAST_PRICE else None for price in prices],
        [value if value is not None and value >= 0 else None for value in snapshots],
        turnover,
    )


def _value_at(times: Times, values: Floats, wanted_ms: int) -> float | None:
    """The value of this time; None if there is none. `times` ascend."""
    line = bisect_left(times, wanted_ms)  # of one time faster than numpy's search
    if line == len(times) or times[line] != wanted_ms:
        return None
    value = float(values[line])
    return None if isnan(value) else value


def funding_at(series: FundingSeries | None, at_ms: int, as_of_ms: int) -> Funding | None:
    """The last rate that was settled by `at_ms`; None where none is known, or where a later one may
    have been settled that is not known, or cannot be.

    rate_8h = rate * 8 / interval_hours, rate_year = rate * 8760 / interval_hours: simple, not
    compounded, as exchanges pay funding on the position and not on funding received. The same in
    https://docs.rs/wickra-core (FundingImpliedApr: rate times intervals per year) and
    https://hex.pm/packages/ccxt_client (CCXT.Trading.Funding.annualize: 8760 h / period).
    """
    if series is None or not len(series.rows) or series.interval_hours < 1:
        return None
    series = not_checked_ahead(series, as_of_ms)
    if series.next_settlement_ms() <= at_ms:
        return None
    last = _last_settled(series.rows, at_ms)
    if last is None:
        return None
    settled_ms, rate = last
    step_ms = series.interval_hours * HOUR_MS
    unknown = (settlement_instant(row.time_ms) + step_ms * row.after for row in series.left_out)
    is_unknown = any(settlement_instant(settled_ms) < ms <= at_ms for ms in unknown)
    if not isfinite(rate) or is_unknown:
        return None
    hours = series.interval_hours
    return Funding(
        rate=rate,
        interval_hours=hours,
        rate_8h=rate * NORMAL_HOURS / hours,
        rate_year=rate * YEAR_HOURS / hours,
        settled_at=settled_ms,
        checked_at=series.checked_at_ms,
    )


def _last_settled(rows: Sequence[FundingRow], at_ms: int) -> FundingRow | None:
    """The last settlement of `at_ms` or before, which may be stamped some ms late."""
    late_ms = at_ms + MINUTE_MS
    if isinstance(rows, TimedValues):
        end = bisect_left(rows.times, late_ms)
        return (int(rows.times[end - 1]), float(rows.numbers[end - 1])) if end else None
    end = bisect_left(rows, late_ms, key=itemgetter(TIME))
    return rows[end - 1] if end else None
