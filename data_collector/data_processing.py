"""Which candles (the forming one too), open interest and funding rate each row of a market gets.

Pure computation on validated values, by whole numpy columns instead of row by row.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

import numpy as np

from data_collector.funding_rules import not_checked_ahead
from market.aggregation import aggregate
from market.candles import NO_TEXTS, Candle, Candles, ExactTexts
from market.columns import CANDLE, TIME, column_index
from market.markets import FundingRow, FundingSeries, Row
from market.rows import Floats, Rows, TimedValues, Times
from market.timeframes import HOUR_MS, Timeframe
from market.unconfirmed_lists import are_many

_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows of one market in the window, ascending.

    `funding_outdated`: a row lacks its rate because a settlement may not have been fetched yet,
    or because the market's funding never was.
    `exact`: the decimal texts of the summed columns, for each row made from a fetched candle.
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
    reused: Sequence[Row] = (),
) -> Merged:
    """One row per candle of the window that ends with the candle at `as_of_ms`.

    `candles` ascend by open time, are unique and lie on the grid of `timeframe`.
    `open_interest` holds (timestamp ms, base units); a candle gets the snapshot with exactly its
    open time. A candle gets the latest `funding` rate before its end and not after `as_of_ms`,
    or null where the series may lack a later settlement. `reused`: rows of an older document, all
    before the first candle; their candle columns are used, open interest and funding are merged.
    """
    fetched = Candles.of(candles).between(
        timeframe.window_start(as_of_ms, history_candles), timeframe.floor(as_of_ms)
    )
    times, values = fetched.times, np.full((len(reused) + len(fetched), len(Rows.names)), np.nan)
    values[len(reused) :, CANDLE] = fetched.values
    if reused:
        earlier = Rows.of(reused)
        times = np.concatenate((earlier.times, times))
        values[: len(reused), CANDLE] = earlier.values[:, CANDLE]
    if not len(times):
        return Merged(Rows(times, values), funding is None, NO_TEXTS)
    _place_snapshots(TimedValues.of(open_interest), times, values[:, _INTEREST])
    outdated = fill_rates(funding, times, values[:, _RATE], timeframe.interval_ms, as_of_ms)
    return Merged(Rows(times, values), outdated, fetched.texts)


def _place_snapshots(snapshots: TimedValues, times: Times, column: Floats) -> None:
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


def with_rate_in_force(
    longer: Rows,
    made_of: Times,
    funding: FundingSeries | None,
    target: Timeframe,
    source: Timeframe,
    as_of_ms: int,
) -> tuple[Rows, bool]:
    """Longer candles made of those that open at `made_of`, and whether a rate may be outdated.

    The forming one has the rate in force now also while nothing is known of its present part: that
    of the part before may be old.
    """
    present_ms = source.floor(as_of_ms)
    is_forming = len(longer) and int(longer.times[-1]) == target.floor(as_of_ms)
    if not is_forming or int(made_of[-1]) == present_ms:
        return longer, False
    rate = np.full(1, np.nan)
    times = np.array([present_ms], np.int64)
    outdated = fill_rates(funding, times, rate, source.interval_ms, as_of_ms)
    longer.values[-1, _RATE] = rate[0]
    return longer, outdated


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


def why_lost(known: Sequence[int], there: Collection[int], *, holes_too: bool) -> str | None:
    """Why candles that lack some of the known ones cannot be right, if so.

    Where they end too early, a cache or a server behind the others would cut the newest.
    """
    gone = [time_ms for time_ms in known if time_ms not in there]
    if gone and max(there) < known[-1]:
        return f"its candles end at {max(there)}, before one known at {known[-1]}"
    if gone and holes_too:
        return f"{len(gone)} known candles are gone, the first of {gone[0]}"
    return None


def contradiction(known: Rows, candles: Candles, left_out: Collection[int]) -> str | None:
    """What is against believing at once candles that lack or change many of the known ones: more
    than an exchange corrects, so that a fault is more likely. `left_out`: instants of invalid rows.
    """
    same = np.zeros(len(known), np.bool_)
    if len(candles):
        lines = candles.times.searchsorted(known.times)
        lines[lines == len(candles)] = 0
        same = candles.times[lines] == known.times
        same &= (candles.values[lines] == known.values[:, CANDLE]).all(axis=1)
    if left_out:
        same |= np.isin(known.times, list(left_out))
    other = len(known) - int(same.sum())
    if not are_many(other, len(known)):
        return None
    return f"{other} of {len(known)} known candles are gone or have other numbers"


def with_known_snapshots(
    fetched: TimedValues, known: TimedValues, left_out: Collection[int]
) -> tuple[TimedValues, Times]:
    """All snapshots anew, with the known ones that they lack, and the times of these. Published
    open interest does not go away; only an invalid one takes the place of one that is known."""
    lacking = ~np.isin(known.times, fetched.times) & ~np.isin(known.times, list(left_out))
    kept = known.select(np.flatnonzero(lacking))
    return (TimedValues.joined([fetched, kept]) if len(kept) else fetched), kept.times


def aggregate_4h_to_8h(
    rows: Sequence[Row], *, window_start_ms: int, exact: ExactTexts | None = None
) -> Rows:
    """8h rows (open 00, 08, 16 UTC) from one market's 4h rows; see aggregation.aggregate."""
    return aggregate(rows, Timeframe.H4, Timeframe.H8, window_start_ms=window_start_ms, exact=exact)
