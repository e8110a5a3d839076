"""OKX's sizes of candles: those of UTC, and those whose days begin at 16:00 UTC."""

from typing import Final, NamedTuple

import numpy as np

from simulator.answers import PERIODS_MS
from simulator.candles import HOUR_MS, TIME, Ints, aggregate, one_candle
from simulator.market import Market
from simulator.series import BLOCK_MS


class Bar(NamedTuple):
    """Candles open at `offset_ms` and every `interval_ms` from there."""

    interval_ms: int
    offset_ms: int = 0

    def open_ms(self, time_ms: int) -> int:
        """When the candle that holds `time_ms` opens."""
        return time_ms - (time_ms - self.offset_ms) % self.interval_ms


# 1s, 2D and longer ones are not modelled; there is no 8h.
BARS: Final = {
    "1m": Bar(PERIODS_MS["1m"]), "3m": Bar(PERIODS_MS["3m"]),
    "5m": Bar(PERIODS_MS["5m"]), "15m": Bar(PERIODS_MS["15m"]), "30m": Bar(PERIODS_MS["30m"]),
    "1H": Bar(PERIODS_MS["1h"]), "2H": Bar(PERIODS_MS["2h"]), "4H": Bar(PERIODS_MS["4h"]),
    "6Hutc": Bar(PERIODS_MS["6h"]), "12Hutc": Bar(PERIODS_MS["12h"]),
    "1Dutc": Bar(PERIODS_MS["1d"]),
    # UTC+8 is ahead by 8 hours: the day begins at 16:00 UTC.
    "6H": Bar(PERIODS_MS["6h"], 4 * HOUR_MS), "12H": Bar(PERIODS_MS["12h"], 4 * HOUR_MS),
    "1D": Bar(PERIODS_MS["1d"], 16 * HOUR_MS),
}  # fmt: skip

# Of the open interest's history.
PERIODS: Final = {name: bar for name, bar in BARS.items() if name not in ("1m", "3m")}


def closed(market: Market, bar: Bar, first_ms: int, last_ms: int) -> Ints:
    """The candles that open from `first_ms` to `last_ms`, in their final form."""
    if not bar.offset_ms:
        return market.closed(bar.interval_ms, first_ms, last_ms)
    first_ms = bar.open_ms(first_ms + bar.interval_ms - 1)
    last_ms = bar.open_ms(last_ms)
    fine = market.closed(BLOCK_MS, first_ms, last_ms + bar.interval_ms - BLOCK_MS)
    return _moved(aggregate(_moved(fine, -bar.offset_ms), bar.interval_ms), bar.offset_ms)


def forming(market: Market, bar: Bar, now_ms: int) -> Ints:
    """The candle that is open at `now_ms` in its state at that time, or none."""
    if not bar.offset_ms:
        return market.forming(bar.interval_ms, now_ms)
    open_ms, block_ms = bar.open_ms(now_ms), now_ms - now_ms % BLOCK_MS
    whole = market.closed(BLOCK_MS, open_ms, block_ms - BLOCK_MS)
    part = market.forming(BLOCK_MS, now_ms)
    return one_candle(open_ms, np.concatenate((whole, part), axis=1))


def snapshots(market: Market, bar: Bar, first_ms: int, last_ms: int) -> Ints:
    """Open interest at the bars' opens as (2, n): time and value, published or not."""
    if not bar.offset_ms:
        return market.snapshots(bar.interval_ms, first_ms, last_ms)
    points = market.snapshots(BLOCK_MS, first_ms, last_ms)
    there: Ints = points[:, (points[0] - bar.offset_ms) % bar.interval_ms == 0]
    return there


def newest_snapshot_ms(market: Market, bar: Bar, now_ms: int) -> int:
    """The newest open whose snapshot, if it exists, is published."""
    time_ms = bar.open_ms(now_ms)
    while market.open_interest.published_ms(time_ms) > now_ms:
        time_ms -= bar.interval_ms
    return time_ms


def _moved(candles: Ints, by_ms: int) -> Ints:
    moved = candles.copy()
    moved[TIME] += by_ms
    return moved
