"""Candles, open interest and funding of one market made into rows, and 4h rows into 8h rows.

Pure computation on values that api_parser has validated; nothing here fetches or stores.
Works on whole columns: numpy does per market what a loop would do per row.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from operator import itemgetter
from typing import Final

import numpy as np
import numpy.typing as npt

from market.candles import Candle, Candles, ExactTexts
from market.exact_decimals import are_short, whole_units
from market.markets import FundingRow, FundingSeries, Row
from market.rows import Floats, Rows, TimedValues, Times
from market.timeframes import Timeframe

_H4: Final = Timeframe.H4.interval_ms
_H8: Final = Timeframe.H8.interval_ms
# A decimal of at most 15 significant digits is recovered from its float64 (DBL_DIG of IEEE 754).
_RECOVERABLE_BELOW: Final = 10.0**15
# Powers of ten up to 10**22 are exact in float64; beyond that the fast path does not apply.
_MAX_DECIMALS: Final = 22
_FITS_INT64: Final = 4e18  # and so does the sum of two
# Where they lie in a line of Rows.values.
_HIGH, _LOW, _CLOSE, _VOLUME, _TURNOVER, _INTEREST, _RATE = range(1, 8)
_AMOUNTS: Final = slice(_VOLUME, _TURNOVER + 1)


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of one market inside the window, ascending.

    `funding_outdated`: some row lacks its rate because a settlement may have happened that
    nobody asked for yet, or because the market's funding was never fetched.
    `exact`: the exchange's decimal texts of volume and turnover, one of each per row that was
    made of a candle.
    """

    rows: Rows
    funding_outdated: bool
    exact: ExactTexts


def merge_data(
    candles: Sequence[Candle],
    open_interest: Sequence[tuple[int, float]],
    funding: FundingSeries | None,
    *,
    timeframe: Timeframe,
    as_of_ms: int,
    history_candles: int,
    kept: Sequence[Row] = (),
) -> Merged:
    """One row for each candle of the window that ends with the candle holding `as_of_ms`.

    `candles` ascend by open time, are unique and lie on the grid of `timeframe`.
    `open_interest` holds (timestamp ms, base units): a snapshot counts for the candle that opens
    at exactly its timestamp. `funding`: the latest settlement before the candle's end and not
    after `as_of_ms`; null where a later one may exist that the series does not know.
    `kept`: earlier rows of the window, all before the first candle; of them the candle counts,
    their open interest and funding are merged like those of the others.
    """
    fetched = Candles.of(candles).between(
        timeframe.window_start(as_of_ms, history_candles), timeframe.floor(as_of_ms)
    )
    times, values = fetched.times, np.full((len(kept) + len(fetched), Rows.width), np.nan)
    values[len(kept) :, : Candles.width] = fetched.values
    if kept:
        earlier = Rows.of(kept)
        times = np.concatenate((earlier.times, times))
        values[: len(kept), : Candles.width] = earlier.values[:, : Candles.width]
    if not len(times):
        return Merged(Rows(times, values), funding is None, ((), ()))
    _place(TimedValues.of(open_interest), times, values[:, _INTEREST])
    outdated = _settle(funding, times, values[:, _RATE], timeframe.interval_ms, as_of_ms)
    return Merged(Rows(times, values), outdated, fetched.texts)


def _place(snapshots: TimedValues, times: Times, column: Floats) -> None:
    """Each snapshot into the line of its time, where there is one."""
    count = len(snapshots)
    begin = int(np.searchsorted(times, snapshots.times[0])) if count else 0
    if np.array_equal(times[begin : begin + count], snapshots.times):  # one beside the other
        column[begin : begin + count] = snapshots.values[:, 0]
        return
    lines = np.searchsorted(times, snapshots.times)
    lines[lines == len(times)] = 0
    hits = times[lines] == snapshots.times
    column[lines[hits]] = snapshots.values[hits, 0]


def _settle(
    funding: FundingSeries | None, times: Times, column: Floats, interval_ms: int, as_of_ms: int
) -> bool:
    """The rate in force at the end of each candle; tells whether one is missing for its age."""
    if funding is None:
        return True
    trusted = len(times)
    unknown_from_ms = funding.next_settlement_ms()
    if unknown_from_ms <= as_of_ms:
        # A settlement at a candle's very end belongs to the next candle: what a candle holds
        # is open <= t < open + interval.
        trusted = int(np.searchsorted(times, unknown_from_ms - interval_ms, side="right"))
    settled = TimedValues.of(_relevant(funding.rows, int(times[0]), as_of_ms))
    latest = np.searchsorted(settled.times, times[:trusted] + interval_ms) - 1
    unsettled = int(np.searchsorted(latest, 0))  # `latest` ascends from -1 on: none yet
    column[unsettled:trusted] = settled.values[latest[unsettled:], 0]
    return trusted < len(times)


def _relevant(
    settlements: Sequence[FundingRow], first_ms: int, as_of_ms: int
) -> Sequence[FundingRow]:
    """The last settlement before `first_ms`, and those from it to `as_of_ms`."""
    if isinstance(settlements, TimedValues):
        begin, end = np.searchsorted(settlements.times, (first_ms, as_of_ms + 1)).tolist()
    else:
        begin = bisect_left(settlements, first_ms, key=itemgetter(0))
        end = bisect_right(settlements, as_of_ms, key=itemgetter(0))
    return settlements[max(0, begin - 1) : end]


def aggregate_4h_to_8h(
    rows: Sequence[Row], *, window_start_ms: int, exact: ExactTexts | None = None
) -> Rows:
    """8h rows, opening at 00, 08 and 16 UTC, from the 4h rows of one market.

    `window_start_ms` is the first instant of the 4h window: a group that begins before it is
    dropped; every other group is made from the candles that exist, the last one included, which
    may be forming. `exact` (Merged.exact) makes the sums of volume and turnover equal to the
    exchange's decimals where a text has more than 15 digits; without it the shortest decimal
    form of each float is summed.
    """
    fours = Rows.of(rows)
    times, values = fours.times, fours.values
    if not len(times):
        return fours
    heads, opening = _groups(times)
    tails = np.empty_like(heads)
    tails[:-1], tails[-1] = heads[1:] - 1, len(times) - 1
    made, last = values.take(heads, axis=0), values.take(tails, axis=0)
    made[:, _HIGH] = np.maximum(made[:, _HIGH], last[:, _HIGH])
    made[:, _LOW] = np.minimum(made[:, _LOW], last[:, _LOW])
    made[:, _CLOSE] = last[:, _CLOSE]
    made[:, _RATE] = last[:, _RATE]
    # Only the candle that opens the group has its open interest.
    made[times[heads] != opening, _INTEREST] = np.nan
    made[:, _AMOUNTS] = _decimal_sums(values[:, _AMOUNTS], heads, exact)
    begin = int(np.searchsorted(opening, window_start_ms))
    return Rows(opening[begin:], made[begin:])


def _groups(times: Times) -> tuple[npt.NDArray[np.intp], Times]:
    """The index of the first 4h row of each 8h group, and the instants the groups open at."""
    count = len(times)
    if times[-1] - times[0] == (count - 1) * _H4:  # no hole: pairs, after an odd first one
        odd = int(times[0]) % _H8 // _H4
        heads = np.arange(-odd, count, 2)
        heads[0] = 0
        opening = times[heads]
        opening[0] -= odd * _H4
        return heads, opening
    groups = times - times % _H8
    heads = np.flatnonzero(np.diff(groups, prepend=-1))
    return heads, groups[heads]


def _decimal_sums(values: Floats, starts: npt.NDArray[np.intp], exact: ExactTexts | None) -> Floats:
    """The floats nearest to the decimal sums of each group of rows; `starts` are their indices.

    `values` are the columns of the texts.
    """
    sums, proven = _scaled_sums(values, starts)
    for column in range(values.shape[1]):
        texts = exact[column] if exact is not None else None
        if not proven[column] or (texts is not None and not are_short(texts)):
            sums[:, column] = _sums_of_texts(values[:, column], starts, texts)
    return sums


def _scaled_sums(
    values: Floats, starts: npt.NDArray[np.intp]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The sums by whole numbers, and of which columns they are proven to be exact if no decimal
    has more than 15 digits: units of the last decimal place that the largest value leaves of 15.

    The proof: each value is the float nearest to its whole number of units, which has at most 15
    digits, so no other decimal of 15 digits can be meant; whole sums below 2**53 are exact; so is
    the rounding of the one division at the end.
    """
    columns = values.T.copy()
    largest = columns.max(axis=1, keepdims=True)
    scales = np.array([[_scale(value)] for (value,) in largest.tolist()])
    units = np.rint(columns * scales)
    proven = (units / scales == columns) & (largest * scales < _RECOVERABLE_BELOW)
    return (np.add.reduceat(units, starts, axis=1) / scales).T, proven.all(axis=1)


def _scale(largest: float) -> float:
    """The power of ten that leaves `largest` at most 15 digits before the point."""
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
    if float(values.max()) * scale < _FITS_INT64:
        if isinstance(units, list):
            units = np.fromiter(units, np.int64, len(units))
        totals = np.add.reduceat(units, starts).tolist()
    else:
        totals = [sum(units[begin:end]) for begin, end in pairwise([*starts.tolist(), len(units)])]
    # The true division of two whole numbers of any size is correctly rounded.
    return [total / scale for total in totals]
