"""Aggregation of candles into a longer timeframe, with volume sums exact in decimal.

Pure computation on whole columns, by the rule that market/columns.py gives for each.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from market.candles import NO_TEXTS, ExactTexts
from market.columns import SUMMED, TRADES, VALUES, Aggregation, Row
from market.decimal_sums import decimal_sums, nullable_sums
from market.rows import Rows, Times
from market.timeframes import Timeframe


def aggregate(
    rows: Sequence[Row],
    source: Timeframe,
    target: Timeframe,
    *,
    window_start_ms: int,
    exact: ExactTexts | None = None,
) -> Rows:
    """Aggregates the rows of one market from `source` to `target`.

    Drops a longer candle that opens before `window_start_ms`. Every other one is made from the
    source candles that exist; the last may still be forming. `exact` (from merge_data) gives the
    exchange's decimal texts, which the sums need where one has more than 15 digits; without it
    the shortest decimal form of each float is summed.
    """
    shorter = Rows.of(rows)
    times, values = shorter.times, shorter.values
    if not len(times):
        return shorter
    heads, opening = _groups(times, source.interval_ms, target.interval_ms)
    tails = np.empty_like(heads)
    tails[:-1], tails[-1] = heads[1:] - 1, len(times) - 1
    longer = values.take(heads, axis=0)  # every column of the first candle; corrected below
    last = values.take(tails, axis=0)
    late = times[heads] != opening
    # With two candles in a group, first and last suffice: several times as fast as reduceat.
    pairs = target.interval_ms == 2 * source.interval_ms
    for column, kind in _ONE_BY_ONE:
        if kind is Aggregation.LAST:
            longer[:, column] = last[:, column]
        elif kind is Aggregation.OPENING:
            longer[late, column] = np.nan
        else:
            extreme = np.maximum if kind is Aggregation.MAX else np.minimum
            longer[:, column] = (
                extreme(longer[:, column], last[:, column])
                if pairs
                else extreme.reduceat(values[:, column], heads)
            )
    longer[:, SUMMED] = decimal_sums(values[:, SUMMED], heads, exact and exact[:_SUMS])
    if shorter.is_wide:
        texts = exact[_SUMS:] if exact is not None else ()
        longer[:, TRADES] = nullable_sums(values[:, TRADES], heads, texts or None)
    begin = int(opening.searchsorted(window_start_ms))
    return Rows(opening[begin:], longer[begin:])


def with_merged(longer: Rows, shorter: Rows, target: Timeframe) -> Rows:
    """`longer` with open interest and funding rate aggregated again from `shorter`."""
    times, values = longer.times, longer.values.copy()
    if not len(times):
        return Rows(times, values)
    heads, tails = shorter.times.searchsorted((times, times + target.interval_ms))
    late = shorter.times[heads] != times
    for index, column in enumerate(VALUES):
        if column.candle:
            continue
        if column.aggregation is Aggregation.LAST:
            values[:, index] = shorter.values[tails - 1, index]
        else:
            values[:, index] = np.where(late, np.nan, shorter.values[heads, index])
    return Rows(times, values)


_SUMS: Final = len(NO_TEXTS)  # columns that are summed in any row
_ONE_BY_ONE: Final = [
    (index, column.aggregation)
    for index, column in enumerate(VALUES)
    if column.aggregation not in (Aggregation.FIRST, Aggregation.SUM)
]


def _groups(times: Times, step_ms: int, target_ms: int) -> tuple[npt.NDArray[np.intp], Times]:
    """The index of each group's first row, and the open time of each group."""
    count = len(times)
    if times[-1] - times[0] == (count - 1) * step_ms:  # no hole: all groups but the first are full
        missing = int(times[0]) % target_ms // step_ms
        heads = np.arange(-missing, count, target_ms // step_ms)
        heads[0] = 0
        opening = times[heads]
        opening[0] -= missing * step_ms
        return heads, opening
    groups = times - times % target_ms
    heads = np.flatnonzero(np.diff(groups, prepend=-1))
    return heads, groups[heads]
