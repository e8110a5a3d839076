"""Aggregation of candles into a longer timeframe, with volume sums exact in decimal.

Pure computation on whole columns, by the rule that market/columns.py gives for each.
"""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from market.candles import ExactTexts
from market.columns import SUMMED, VALUES, Aggregation, Row
from market.exact_sums import are_short, whole_units
from market.rows import Floats, Rows, Times
from market.timeframes import Timeframe

# A decimal of at most 15 significant digits is recovered from its float64 (DBL_DIG of IEEE 754).
_RECOVERABLE_BELOW: Final = 10.0**15
# Powers of ten up to 10**22 are exact in float64; the fast path needs an exact scale.
_MAX_DECIMALS: Final = 22
_EXACT_BELOW: Final = 2.0**53  # integers below it are exact in float64
_FITS_INT64: Final = 9e18


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
    longer[:, SUMMED] = _decimal_sums(values[:, SUMMED], heads, exact)
    begin = int(np.searchsorted(opening, window_start_ms))
    return Rows(opening[begin:], longer[begin:])


def with_merged(longer: Rows, shorter: Rows, target: Timeframe) -> Rows:
    """`longer` with open interest and funding rate aggregated again from `shorter`."""
    times, values = longer.times, longer.values.copy()
    if not len(times):
        return Rows(times, values)
    heads, tails = np.searchsorted(shorter.times, (times, times + target.interval_ms))
    late = shorter.times[heads] != times
    for index, column in enumerate(VALUES):
        if column.candle:
            continue
        if column.aggregation is Aggregation.LAST:
            values[:, index] = shorter.values[tails - 1, index]
        else:
            values[:, index] = np.where(late, np.nan, shorter.values[heads, index])
    return Rows(times, values)


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


def _decimal_sums(values: Floats, starts: npt.NDArray[np.intp], exact: ExactTexts | None) -> Floats:
    """The float nearest to the decimal sum of each group; `starts`: each group's first row."""
    sums, proven = _scaled_sums(values, starts)
    for column in range(values.shape[1]):
        texts = exact[column] if exact is not None else None
        if not proven[column] or (texts is not None and not are_short(texts)):
            sums[:, column] = _sums_of_texts(values[:, column], starts, texts)
    return sums


def _scaled_sums(
    values: Floats, starts: npt.NDArray[np.intp]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Sums in whole units, and per column whether they are exact for texts of <= 15 digits.

    The unit is the finest power of ten at which the largest value still has at most 15 digits.
    The proof: each value is the float nearest to a whole number of units with at most 15 digits,
    so no other decimal of 15 digits has this float; whole sums below 2**53 are exact; the one
    division at the end rounds correctly.
    """
    columns = values.T.copy()
    largest = columns.max(axis=1, keepdims=True)
    scales = np.array([[_scale(value)] for (value,) in largest.tolist()])
    units = np.rint(columns * scales)
    recovered = (units / scales == columns) & (largest * scales < _RECOVERABLE_BELOW)
    totals = np.add.reduceat(units, starts, axis=1)
    proven = recovered.all(axis=1) & (totals.max(axis=1) < _EXACT_BELOW)
    return (totals / scales).T, proven


def _scale(largest: float) -> float:
    """The largest power of ten that keeps `largest` within 15 digits before the point."""
    scale = 1.0
    for _ in range(_MAX_DECIMALS):
        if largest * scale * 10.0 >= _RECOVERABLE_BELOW:
            break
        scale *= 10.0
    return scale


def _sums_of_texts(
    values: Floats, starts: npt.NDArray[np.intp], texts: Sequence[str] | None
) -> list[float]:
    if texts is None:
        texts = [f"{Decimal(repr(value)):f}" for value in values.tolist()]
    units, scale = whole_units(texts)
    if float(np.add.reduceat(values, starts).max()) * scale < _FITS_INT64:
        whole = np.asarray(units, np.int64)
        totals = np.add.reduceat(whole, starts).tolist()
    else:
        totals = [sum(units[begin:end]) for begin, end in pairwise([*starts.tolist(), len(units)])]
    # Python divides two integers of any size with correct rounding.
    return [total / scale for total in totals]
