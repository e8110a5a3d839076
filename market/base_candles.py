"""Candles of any timeframe from the base of a market, and which of them it cannot prove."""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from market.base import STEP_MS, Base
from market.columns import SUMMED, TRADES, VALUES, Aggregation, column_index
from market.rows import Floats, Rows, Times
from market.timeframes import Timeframe

_RATE: Final = column_index("funding_rate")
_EXTREMES: Final = [
    (index, np.maximum if column.aggregation is Aggregation.MAX else np.minimum)
    for index, column in enumerate(VALUES)
    if column.aggregation in (Aggregation.MAX, Aggregation.MIN)
]
_CLOSE: Final = column_index("close")


class MadeCandles(NamedTuple):
    """`rows`: what the base proves, without funding rates. `unproven`: the open times of all other
    candles, which may exist or not."""

    rows: Rows
    unproven: Times


def made_candles(
    base: Base | None, timeframe: Timeframe, *, first_ms: int, as_of_ms: int, since_ms: int = 0
) -> MadeCandles:
    """The candles from `first_ms` (on the grid) to the one that holds `as_of_ms`.

    A longer candle is proven if all its 5m candles were seen closed, but for the forming one, and
    if it opened at or after `since_ms`: before it the symbol was another contract's. Of 5m itself
    a hole that was seen is a hole. `base` reaches to `as_of_ms` (Base.until).
    """
    step_ms = timeframe.interval_ms
    opens = np.arange(first_ms, as_of_ms + 1, step_ms)
    if base is None or not len(opens):
        return MadeCandles(Rows.of(()), opens)
    proven_ms = max(base.first_ms, since_ms)
    before = max(0, -(-(proven_ms - first_ms) // step_ms))
    outside, opens = opens[:before], opens[before:]
    if not len(opens):
        return MadeCandles(Rows.of(()), outside)
    begin = (int(opens[0]) - base.first_ms) // STEP_MS
    if timeframe is Timeframe.M5:
        known = base.known[begin:]
        lines = begin + np.flatnonzero(known & base.there[begin:])
        unproven = np.concatenate((outside, opens[~known]))
        return MadeCandles(Rows(base.times[lines], base.values[lines]), unproven)
    parts, usable, end = step_ms // STEP_MS, base.usable[begin:], len(base.values)
    if not base.there[-1] and usable[-1]:
        usable, end = usable[:-1], end - 1  # nothing was traded yet in the forming one
    heads = np.arange(0, len(usable), parts)
    opens = opens[: len(heads)]
    if not usable.all():
        proven = np.logical_and.reduceat(usable, heads)
        outside = np.concatenate((outside, opens[~proven]))
        heads, opens = heads[proven], opens[proven]
    if not len(heads):
        return MadeCandles(Rows.of(()), outside)
    return MadeCandles(Rows(opens, _longer(base, begin + heads, parts, end)), outside)


def _longer(base: Base, heads: npt.NDArray[np.intp], parts: int, end: int) -> Floats:
    """One line for each group of `parts` slots; the last group may end before, at `end`."""
    ends = np.minimum(heads + parts, end)
    longer = base.values.take(heads, axis=0)  # the opening values; the others are corrected below
    # Of each pair of bounds the first begins a group; the rest after its end is not used.
    bounds = np.column_stack((heads, ends)).ravel()[:-1]
    values = base.values[: int(ends[-1])]
    for column, extreme in _EXTREMES:
        longer[:, column] = extreme.reduceat(values[:, column], bounds)[::2]
    longer[:, _CLOSE] = base.values[ends - 1, _CLOSE]
    longer[:, SUMMED] = base.sums.between(heads, ends)
    if base.is_wide:
        longer[:, TRADES] = base.trade_sums.between(heads, ends)
    longer[:, _RATE] = np.nan
    return longer
