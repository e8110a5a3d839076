"""Puts open interest and funding rates on candles: the one rule for documents and for history.

Pure computation on whole numpy columns.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from market.columns import TIME
from market.markets import FundingRow, FundingSeries
from market.rows import Floats, TimedValues, Times
from market.settlements import not_checked_ahead
from market.timeframes import HOUR_MS


def place_snapshots(snapshots: TimedValues, times: Times, column: Floats) -> None:
    """Writes each snapshot into `column` at the row with its time, if any."""
    lines = times.searchsorted(snapshots.times)
    lines[lines == len(times)] = 0
    hits = times[lines] == snapshots.times
    column[lines[hits]] = snapshots.numbers[hits]


def fill_rates(
    funding: FundingSeries | None, times: Times, column: Floats, interval_ms: int, as_of_ms: int
) -> bool:
    """Writes the rate in force at each candle's end; returns whether one may be outdated."""
    if funding is None:
        return True
    funding = not_checked_ahead(funding, as_of_ms)
    trusted = len(times)
    unknown_from_ms = funding.next_settlement_ms()
    if unknown_from_ms <= as_of_ms:
        # A settlement at a candle's end belongs to the next candle: open <= t < open + interval.
        trusted = int(times.searchsorted(unknown_from_ms - interval_ms, side="right"))
    rows = _with_unknown_rates(funding) if funding.left_out else funding.rows
    settled = TimedValues.of(_settlements_between(rows, int(times[0]), as_of_ms))
    latest = settled.times.searchsorted(times[:trusted] + interval_ms) - 1
    unsettled = int(latest.searchsorted(0))  # `latest` ascends; -1: no settlement yet
    column[unsettled:trusted] = settled.numbers[latest[unsettled:]]
    return trusted < len(times)


def _with_unknown_rates(funding: FundingSeries) -> list[FundingRow]:
    """The settlements, and NaN for those that were left out: no earlier rate is in force then."""
    step_ms = funding.interval_hours * HOUR_MS
    unknown = ((row.time_ms + step_ms * row.after, np.nan) for row in funding.left_out)
    known = {settled_ms for settled_ms, _ in funding.rows}
    return sorted([*funding.rows, *(row for row in unknown if row[TIME] not in known)])


def _settlements_between(
    settlements: Sequence[FundingRow], first_ms: int, as_of_ms: int
) -> Sequence[FundingRow]:
    """The last settlement before `first_ms`, and those from it to `as_of_ms`."""
    if isinstance(settlements, TimedValues):
        begin, end = settlements.times.searchsorted((first_ms, as_of_ms + 1)).tolist()
    else:
        begin = bisect_left(settlements, first_ms, key=itemgetter(TIME))
        end = bisect_right(settlements, as_of_ms, key=itemgetter(TIME))
    return settlements[max(0, begin - 1) : end]
