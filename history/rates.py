"""The funding rates of stored candles: the collector's own rule, on settlements of the record."""

from typing import Final

import numpy as np

from history.selection import MarketName
from market.markets import Exchange, FundingSeries, Market
from market.merging import fill_rates
from market.rows import Floats, TimedValues, Times
from market.settlements import LONGEST_INTERVAL_HOURS, lacking_after
from market.timeframes import HOUR_MS, MINUTE_MS

_LONGEST_MS: Final = LONGEST_INTERVAL_HOURS * HOUR_MS
_INTERVALS_HOURS: Final = (8, 4, 2, 1)
_FOR_EVER_MS: Final = 10**15


def put_rates(
    settled: TimedValues, market: MarketName, times: Times, column: Floats, interval_ms: int
) -> None:
    """Writes into `column` the rate in force at the end of each candle that opens at `times`.

    A document knows up to when an exchange's settlements are complete; of the record that is known
    up to the last of them. Where one seems to be missing, no rate is told until the next: a
    distance that is longer than the one before and the one after, or than 8 hours, has a hole.
    """
    if len(settled):
        fill_rates(_series(settled, market), times, column, interval_ms, _FOR_EVER_MS)


def recorded_funding(settled: TimedValues, market: Market, interval_hours: int) -> FundingSeries:
    """The settlements of the record, of which there are some, as the collector's series; what they
    prove of their completeness is that up to the last of them. NaN where one seems to be missing.
    """
    last_ms = int(settled.times[-1])
    holes, unknown = lacking_after(settled.times)
    if len(holes):
        settled = TimedValues(
            np.insert(settled.times, holes + 1, unknown),
            np.insert(settled.values, holes + 1, np.nan, axis=0),
        )
    return FundingSeries(market, settled, interval_hours, last_ms - last_ms % MINUTE_MS)


def _series(settled: TimedValues, market: MarketName) -> FundingSeries:
    steps = np.diff(settled.times - settled.times % MINUTE_MS)
    last_step_ms = int(steps[-1]) if len(steps) else _LONGEST_MS
    hours = next((h for h in _INTERVALS_HOURS if last_step_ms % (h * HOUR_MS) == 0), 1)
    place = Market(Exchange(market.exchange), market.symbol, "", "")
    return recorded_funding(settled, place, hours)
