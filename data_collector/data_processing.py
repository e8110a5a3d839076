"""Candles, open interest and funding of one market made into rows, and 4h rows into 8h rows.

Pure computation on values that api_parser has validated; nothing here fetches or stores.
Both functions work on whole columns: `zip` and numpy do per market what a loop would do per row.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, pairwise
from operator import itemgetter
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from data_collector.api_parser import Candle
from market_data import FundingRow, FundingSeries, Row, Timeframe

# The decimal texts of volume and of turnover, each as long as the rows they belong to.
ExactTexts = tuple[Sequence[str], Sequence[str]]

_CANDLE_COLUMNS: Final = 7  # of a row; the others are merged to them
_H4: Final = Timeframe.H4.interval_ms
_H8: Final = Timeframe.H8.interval_ms
# A decimal of at most 15 significant digits is recovered from its float64 (DBL_DIG of IEEE 754).
_RECOVERABLE_DIGITS: Final = 15
_RECOVERABLE_BELOW: Final = 10.0**_RECOVERABLE_DIGITS
# Powers of ten up to 10**22 are exact in float64; beyond that the fast path does not apply.
_MAX_DECIMALS: Final = 22
_FITS_INT64: Final = 4e18  # and so does the sum of two


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of one market inside the window, ascending.

    `funding_outdated`: some row lacks its rate because a settlement may have happened that
    nobody asked for yet, or because the market's funding was never fetched.
    `exact`: the exchange's decimal texts of volume and turnover, one of each per row that was
    made of a candle.
    """

    rows: list[Row]
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
    first_ms = timeframe.window_start(as_of_ms, history_candles)
    last_ms = timeframe.floor(as_of_ms)
    if candles and (candles[0][0] < first_ms or candles[-1][0] > last_ms):
        begin = bisect_left(candles, first_ms, key=itemgetter(0))
        candles = candles[begin : bisect_right(candles, last_ms, key=itemgetter(0))]
    exact: ExactTexts = ((), ())
    columns: list[Sequence[Any]] = [()] * _CANDLE_COLUMNS
    if candles:
        *prices, volumes, turnovers = zip(*candles, strict=True)
        exact = (volumes, turnovers)
        columns = [*prices, _floats(volumes), _floats(turnovers)]
    if kept:
        earlier = islice(zip(*kept, strict=True), _CANDLE_COLUMNS)
        columns = [[*old, *new] for old, new in zip(earlier, columns, strict=True)]
    times = columns[0]
    if not times:
        return Merged([], funding is None, exact)
    rates, outdated = _settled_rates(times, funding, timeframe.interval_ms, as_of_ms)
    rows = list(zip(*columns, map(dict(open_interest).get, times), rates, strict=True))
    return Merged(rows, outdated, exact)


def _settled_rates(
    times: Sequence[int], funding: FundingSeries | None, interval_ms: int, as_of_ms: int
) -> tuple[Sequence[float | None], bool]:
    """The rate in force at the end of each candle, and whether one is missing for its age."""
    if funding is None:
        return [None] * len(times), True
    trusted = len(times)
    unknown_from_ms = funding.next_settlement_ms()
    if unknown_from_ms <= as_of_ms:
        # A settlement at a candle's very end belongs to the next candle: what a candle holds
        # is open <= t < open + interval.
        trusted = bisect_right(times, unknown_from_ms - interval_ms)

    rates: list[float | None] = []
    rate: float | None = None
    settlements = iter(_relevant(funding.rows, times[0], as_of_ms))
    funding_ms, following = next(settlements, _NO_SETTLEMENT)
    for open_ms in times[:trusted]:
        end_ms = open_ms + interval_ms
        while funding_ms < end_ms:
            rate = following
            funding_ms, following = next(settlements, _NO_SETTLEMENT)
        rates.append(rate)
    rates += [None] * (len(times) - trusted)
    return rates, trusted < len(times)


_NO_SETTLEMENT: Final = (2**63, 0.0)


def _relevant(
    settlements: Sequence[FundingRow], first_ms: int, as_of_ms: int
) -> Sequence[FundingRow]:
    """The last settlement before `first_ms`, and those from it to `as_of_ms`."""
    begin = bisect_left(settlements, first_ms, key=itemgetter(0))
    end = bisect_right(settlements, as_of_ms, key=itemgetter(0))
    return settlements[max(0, begin - 1) : end]


_FLOATS: Final = msgspec.json.Decoder(list[float])
_INTEGERS: Final = msgspec.json.Decoder(list[int])


def _floats(texts: Sequence[str]) -> Sequence[float]:
    """float() of each text. As one JSON array they are read four times as fast, to the bit."""
    try:
        return _FLOATS.decode(f"[{','.join(texts)}]")
    except msgspec.DecodeError:  # a form that JSON does not have, such as "5."
        return list(map(float, texts))


def aggregate_4h_to_8h(
    rows: Sequence[Row], *, window_start_ms: int, exact: ExactTexts | None = None
) -> list[Row]:
    """8h rows, opening at 00, 08 and 16 UTC, from the 4h rows of one market.

    `window_start_ms` is the first instant of the 4h window: a group that begins before it is
    dropped; every other group is made from the candles that exist, the last one included, which
    may be forming. `exact` (Merged.exact) makes the sums of volume and turnover equal to the
    exchange's decimals where a text has more than 15 digits; without it the shortest decimal
    form of each float is summed.
    """
    if not rows:
        return []
    times, opens, highs, lows, closes, volumes, turnovers, interest, rates = zip(*rows, strict=True)
    starts, groups = _groups(times)
    heads = starts.tolist()
    tails = [start - 1 for start in heads[1:]]
    tails.append(len(rows) - 1)
    firsts, snapshots = _at(heads, times), _at(heads, interest)
    if list(firsts) != groups:  # only the candle that opens the group has its open interest
        snapshots = list(map(_if_equal, groups, firsts, snapshots))
    volume_texts, turnover_texts = exact or (None, None)
    result = list(
        zip(
            groups,
            _at(heads, opens),
            [a if a > b else b for a, b in zip(_at(heads, highs), _at(tails, highs), strict=True)],
            [a if a < b else b for a, b in zip(_at(heads, lows), _at(tails, lows), strict=True)],
            _at(tails, closes),
            _decimal_sums(volumes, starts, volume_texts),
            _decimal_sums(turnovers, starts, turnover_texts),
            snapshots,
            _at(tails, rates),
            strict=True,
        )
    )
    return result[bisect_left(groups, window_start_ms) :]


def _groups(times: Sequence[int]) -> tuple[npt.NDArray[np.intp], list[int]]:
    """The index of the first 4h row of each 8h group, and the instants the groups open at."""
    count = len(times)
    if times[-1] - times[0] == (count - 1) * _H4:  # no hole: pairs, after an odd first one
        odd = times[0] % _H8 // _H4
        starts = np.arange(-odd, count, 2)
        starts[0] = 0
        opening = times[0] - odd * _H4
        return starts, list(range(opening, opening + len(starts) * _H8, _H8))
    opened = np.array(times)
    group_of = opened - opened % _H8
    starts = np.flatnonzero(np.diff(group_of, prepend=-1))
    return starts, group_of[starts].tolist()


def _array(column: Sequence[float]) -> npt.NDArray[np.float64]:
    return np.fromiter(column, np.float64, len(column))


def _at(indices: Sequence[int], column: Sequence[Any]) -> Sequence[Any]:
    # itemgetter of a single index gives the bare value, of more a tuple.
    return itemgetter(*indices)(column) if len(indices) > 1 else [column[indices[0]]]


def _if_equal(group_ms: int, first_ms: int, open_interest: float | None) -> float | None:
    return open_interest if group_ms == first_ms else None


def _decimal_sums(
    values: Sequence[float], starts: npt.NDArray[np.intp], texts: Sequence[str] | None
) -> list[float]:
    """The float nearest to the decimal sum of each group of rows; `starts` are their indices."""
    # One more character for the point: then no text has more than 15 digits.
    if texts is None or max(map(len, texts)) <= _RECOVERABLE_DIGITS + 1:
        sums = _scaled_sums(values, starts, texts)
        if sums is not None:
            return sums
    if texts is None:
        texts = [f"{Decimal(repr(value)):f}" for value in values]
    units, scale = _whole_units(texts)
    if max(values) * scale < _FITS_INT64:
        totals = np.add.reduceat(np.fromiter(units, np.int64, len(units)), starts).tolist()
    else:
        totals = [sum(units[begin:end]) for begin, end in pairwise([*starts.tolist(), len(units)])]
    # The true division of two whole numbers of any size is correctly rounded.
    return [total / scale for total in totals]


def _whole_units(texts: Sequence[str]) -> tuple[list[int], int]:
    """Plain decimal texts as whole numbers of one unit, and how many units make 1."""
    decimals = _decimals(texts[0])
    try:
        uniform = decimals > 0 and set(map(itemgetter(-decimals - 1), texts)) == {"."}
    except IndexError:
        uniform = False
    if uniform:
        digits = ",".join(texts).replace(".", "")
        try:
            return _INTEGERS.decode(f"[{digits}]"), 10**decimals
        except msgspec.DecodeError:  # a leading zero
            return list(map(int, digits.split(","))), 10**decimals
    decimals = max(map(_decimals, texts))
    parts = (text.partition(".") for text in texts)
    return [int(whole + part.ljust(decimals, "0")) for whole, _, part in parts], 10**decimals


def _scaled_sums(
    values: Sequence[float], starts: npt.NDArray[np.intp], texts: Sequence[str] | None
) -> list[float] | None:
    """The sums by whole numbers: units of the smallest decimal place in use.

    None where that is not exact. The proof that it is: each value is the float nearest to its
    whole number of units, which has at most 15 digits, so no other decimal of 15 digits can be
    meant; whole sums below 2**53 are exact; so is the rounding of the one division at the end.
    """
    column = _array(values)
    largest = float(column.max())
    decimals = _decimals(texts[0]) if texts else 0
    while decimals <= _MAX_DECIMALS:
        scale = float(10**decimals)
        if largest * scale >= _RECOVERABLE_BELOW:
            return None
        units = np.rint(column * scale)
        if (units / scale == column).all():
            sums: list[float] = (np.add.reduceat(units, starts) / scale).tolist()
            return sums
        widest = max(map(_decimals, texts)) if texts else 0
        decimals = max(decimals + 1, widest)
    return None


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])
