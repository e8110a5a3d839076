"""The true rows that a collection must produce, made from the generator's integers.

A row is [open_time, open, high, low, close, volume, turnover, open_interest, funding_rate]. Floats
are those of the exact decimals; open interest is one-sided; an unknown value is null.
"""

from bisect import bisect_right
from typing import Any, Final

import numpy as np

from simulator.answers import PERIODS_MS
from simulator.candles import (
    CLOSE,
    DAY_MS,
    MINUTE_MS,
    OPEN,
    TIME,
    TURNOVER,
    VOLUME,
    Ints,
    aggregate,
)  # fmt: skip
from simulator.funding import RATE_DECIMALS, Settlement
from simulator.market import Market

_EXACT: Final = 2**53


class InvalidQuery(Exception):
    """A request under /sim has an invalid parameter; the message says which."""


def market_truth(
    market: Market, timeframe: str, as_of_ms: int, candles: int,
    *, oi_as_of_ms: int | None = None, funding_as_of_ms: int | None = None,
    funding_history: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """The true merged rows of one market for a collection at `as_of_ms`.

    `oi_as_of_ms`, `funding_as_of_ms`: when these were fetched, if not at `as_of_ms`.
    `funding_history`: how many of the newest regular settlements are known; 0 means all.
    """
    if timeframe not in PERIODS_MS:
        raise InvalidQuery(f"timeframe must be one of {', '.join(PERIODS_MS)}")
    interval_ms = PERIODS_MS[timeframe]
    # 8h is aggregated from 4h, so its window is that of `candles` candles of 4h.
    source_ms = PERIODS_MS["4h"] if timeframe == "8h" else interval_ms
    source_first_ms = as_of_ms - as_of_ms % source_ms - (candles - 1) * source_ms
    # Nothing is of the contract that had the symbol before.
    source_first_ms = max(source_first_ms, market.relaunched_ms)
    first_ms = source_first_ms + -source_first_ms % interval_ms
    columns = _columns(market, source_ms, interval_ms, first_ms, as_of_ms)
    made_of = _last_part(market, source_ms, interval_ms, first_ms, as_of_ms)
    oi = _open_interest(market, interval_ms, first_ms, as_of_ms, oi_as_of_ms or as_of_ms)
    funding = regular_settlements(market, as_of_ms, funding_as_of_ms, funding_history, first_ms)
    stamps = [item.time_ms for item in funding]
    scale = 10**RATE_DECIMALS
    rows: list[list[Any]] = []
    for time, *numbers in zip(*columns, strict=True):
        opens_whole, end_ms = made_of[time]
        if time + interval_ms > as_of_ms:  # a part of it that has no candle yet settles, too
            end_ms = as_of_ms + 1
        known = bisect_right(stamps, min(end_ms - 1, as_of_ms))
        rate = funding[known - 1].rate / scale if known else None
        rows.append([time, *numbers, oi.get(time) if opens_whole else None, rate])
    return {
        "exchange": market.exchange,
        "symbol": market.symbol,
        "base": market.base,
        "quote": market.quote,
        "rows": rows,
        "funding_interval_hours": market.funding.hours_at(as_of_ms),
        "listed_ms": market.listed_ms,
    }


def regular_settlements(
    market: Market, as_of_ms: int, seen_ms: int | None, history: int, first_ms: int | None = None
) -> list[Settlement]:
    """The known regular settlements of a market, ascending.

    These are the newest `history` up to `as_of_ms` and `seen_ms`, or all of the last 600 days if
    `history` is 0. Settlements that no candle from `first_ms` on needs may be left out.
    """
    last_ms = as_of_ms if seen_ms is None else min(seen_ms, as_of_ms)
    from_ms = last_ms - 600 * DAY_MS
    if first_ms is not None:
        from_ms = max(from_ms, first_ms - 3 * DAY_MS)
    if market.relaunched_ms:  # one at the launch itself was the former contract's
        from_ms = max(from_ms, market.relaunched_ms + MINUTE_MS)
    if not history:
        return [i for i in market.funding.settlements(from_ms, last_ms) if not i.special]
    found: list[Settlement] = []
    end_ms = last_ms
    while len(found) < history and end_ms >= from_ms:
        start_ms = max(end_ms - 20 * DAY_MS, from_ms if market.relaunched_ms else 0)
        more = [i for i in market.funding.settlements(start_ms, end_ms) if not i.special]
        found = more + found
        end_ms = start_ms - 1
    return found[-history:]


def _sound_candles(market: Market, interval_ms: int, first_ms: int, as_of_ms: int) -> Ints:
    """The closed candles and the forming one, without those that are sent as impossible ones."""
    open_ms = as_of_ms - as_of_ms % interval_ms
    closed = market.closed(interval_ms, first_ms, open_ms - interval_ms)
    candles = np.concatenate((closed, market.forming(interval_ms, as_of_ms)), axis=1)
    if market.impossible:
        candles = candles[:, ~np.isin(candles[TIME], list(market.impossible))]
    return candles


def _columns(
    market: Market, source_ms: int, interval_ms: int, first_ms: int, as_of_ms: int
) -> list[list[Any]]:
    """Open time, prices, volume and turnover of the closed candles and the forming one."""
    if market.impossible:
        candles = aggregate(_sound_candles(market, source_ms, first_ms, as_of_ms), interval_ms)
    else:
        candles = _sound_candles(market, interval_ms, first_ms, as_of_ms)
    prices = [as_floats(candles[i], market.price_decimals) for i in range(OPEN, CLOSE + 1)]
    both = market.price_decimals + market.quantity_decimals
    return [
        candles[TIME].tolist(),
        *prices,
        as_floats(candles[VOLUME], market.quantity_decimals),
        as_floats(candles[TURNOVER], both),
    ]


def _last_part(
    market: Market, source_ms: int, interval_ms: int, first_ms: int, as_of_ms: int
) -> dict[int, tuple[bool, int]]:
    """For each candle: whether its first source candle exists, and when its last one ends. Without
    aggregation the candle is its own source."""
    times = _sound_candles(market, source_ms, first_ms, as_of_ms)[TIME].tolist()
    found: dict[int, tuple[bool, int]] = {}
    for time in times:
        start = time - time % interval_ms
        opens_whole = found[start][0] if start in found else time == start
        found[start] = (opens_whole, time + source_ms)
    return found


def as_floats(values: Ints, decimals: int) -> list[float]:
    """Each integer divided by 10^decimals, rounded once: the float of the exact decimal."""
    scale = 10**decimals
    if values.size == 0 or int(values.max()) < _EXACT:
        # Both operands are exact floats, so the division rounds only once.
        quotients: list[float] = (values / float(scale)).tolist()
        return quotients
    return [value / scale for value in values.tolist()]


def _open_interest(
    market: Market, interval_ms: int, first_ms: int, as_of_ms: int, seen_ms: int
) -> dict[int, float]:
    if market.open_interest_kept_ms is not None:
        first_ms = max(first_ms, as_of_ms - market.open_interest_kept_ms)
    points = market.snapshots(interval_ms, first_ms, as_of_ms)
    times = points[0].tolist()
    values = as_floats(points[1], market.open_interest_decimals)
    newest_ms = market.newest_snapshot_ms(interval_ms, seen_ms)
    return {t: value for t, value in zip(times, values, strict=True) if t <= newest_ms}
