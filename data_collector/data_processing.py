"""Candles, open interest and funding of one market made into rows.

Pure computation on values that api_parser has validated; nothing here fetches or stores.
Works on whole columns: numpy does per market what a loop would do per row.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np

from market.aggregation import aggregate
from market.candles import NO_TEXTS, Candle, Candles, ExactTexts
from market.columns import CANDLE, TIME, column_index
from market.markets import FundingRow, FundingSeries, Row
from market.rows import Floats, Rows, TimedValues, Times
from market.timeframes import Timeframe

_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of one market inside the window, ascending.

    `funding_outdated`: some row lacks its rate because a settlement may have happened that
    nobody asked for yet, or because the market's funding was never fetched.
    `exact`: the exchange's decimal texts of what is summed, one of each per row that was made of
    a candle.
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
    times, values = fetched.times, np.full((len(kept) + len(fetched), len(Rows.names)), np.nan)
    values[len(kept) :, CANDLE] = fetched.values
    if kept:
        earlier = Rows.of(kept)
        times = np.concatenate((earlier.times, times))
        values[: len(kept), CANDLE] = earlier.values[:, CANDLE]
    if not len(times):
        return Merged(Rows(times, values), funding is None, NO_TEXTS)
    _place(TimedValues.of(open_interest), times, values[:, _INTEREST])
    outdated = _settle(funding, times, values[:, _RATE], timeframe.interval_ms, as_of_ms)
    return Merged(Rows(times, values), outdated, fetched.texts)


def _place(snapshots: TimedValues, times: Times, column: Floats) -> None:
    """Each snapshot into the line of its time, where there is one."""
    count = len(snapshots)
    begin = int(np.searchsorted(times, snapshots.times[0])) if count else 0
    if np.array_equal(times[begin : begin + count], snapshots.times):  # one beside the other
        column[begin : begin + count] = snapshots.numbers
        return
    lines = np.searchsorted(times, snapshots.times)
    lines[lines == len(times)] = 0
    hits = times[lines] == snapshots.times
    column[lines[hits]] = snapshots.numbers[hits]


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
    column[unsettled:trusted] = settled.numbers[latest[unsettled:]]
    return trusted < len(times)


def _relevant(
    settlements: Sequence[FundingRow], first_ms: int, as_of_ms: int
) -> Sequence[FundingRow]:
    """The last settlement before `first_ms`, and those from it to `as_of_ms`."""
    if isinstance(settlements, TimedValues):
        begin, end = np.searchsorted(settlements.times, (first_ms, as_of_ms + 1)).tolist()
    else:
        begin = bisect_left(settlements, first_ms, key=itemgetter(TIME))
        end = bisect_right(settlements, as_of_ms, key=itemgetter(TIME))
    return settlements[max(0, begin - 1) : end]


def aggregate_4h_to_8h(
    rows: Sequence[Row], *, window_start_ms: int, exact: ExactTexts | None = None
) -> Rows:
    """8h rows, opening at 00, 08 and 16 UTC, from the 4h rows of one market: `aggregate`."""
    return aggregate(rows, Timeframe.H4, Timeframe.H8, window_start_ms=window_start_ms, exact=exact)
