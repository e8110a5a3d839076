"""Candles of any timeframe from the base of a market, and which of them it cannot prove."""

from typing import Final, NamedTuple

import numpy as np

from market.base import STEP_MS, Base
from market.columns import SUMMED, VALUES, Aggregation, column_index
from market.decimal_sums import decimal_sums
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
    parts, usable, values = step_ms // STEP_MS, base.usable[begin:], base.values[begin:]
    if not base.there[-1] and usable[-1]:
        usable, values = usable[:-1], values[:-1]  # nothing was traded yet in the forming one
    if not usable.all():
        heads = np.arange(0, len(usable), parts)
        proven = np.logical_and.reduceat(usable, heads)
        outside = np.concatenate((outside, opens[: len(heads)][~proven]))
        opens = opens[: len(heads)][proven]
        values = values[np.repeat(proven, parts)[: len(values)]]
    heads = np.arange(0, len(values), parts)
    if not len(heads):
        return MadeCandles(Rows.of(()), outside)
    return MadeCandles(Rows(opens[: len(heads)], _longer(values, heads, parts)), outside)


def _longer(values: Floats, heads: Times, parts: int) -> Floats:
    """One line for each group of `parts` lines; the last group may be shorter."""
    longer = values.take(heads, axis=0)  # the opening values; the others are corrected below
    for column, extreme in _EXTREMES:
        longer[:, column] = extreme.reduceat(values[:, column], heads)
    tails = heads + (parts - 1)
    tails[-1] = len(values) - 1
    longer[:, _CLOSE] = values[tails, _CLOSE]
    longer[:, SUMMED] = decimal_sums(values[:, SUMMED], heads)
    longer[:, _RATE] = np.nan
    return longer
