"""Which rows and snapshots of a market belong to its present life (market/lives.py)."""

import numpy as np

from market.markets import Market
from market.rows import Floats, Times
from market.timeframes import DAY_MS


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


def begin_of_life(market: Market, times: Times, interval_ms: int) -> int:
    """What is older than this, such as a snapshot of open interest, is not of the present life.

    `times`: the open times of the life's rows. 0: unknown.
    """
    if market.since_ms or not len(times) or int(times[0]) + interval_ms <= market.launched_ms:
        return market.since_ms
    return market.launched_ms


def _ended_by(times: Times, moment_ms: int, interval_ms: int) -> int:
    """How many candles ended at or before the moment."""
    return int(np.searchsorted(times, moment_ms - interval_ms, side="right"))
