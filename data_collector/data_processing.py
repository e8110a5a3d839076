"""Which candles (the forming one too), open interest and funding rate each row of a market gets.

Pure computation on validated values, by whole numpy columns instead of row by row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from market.aggregation import aggregate
from market.candles import NO_TEXTS, Candle, Candles, ExactTexts
from market.columns import column_index
from market.markets import FundingSeries, Row
from market.merging import fill_rates, place_snapshots
from market.rows import (
    Rows,
    TimedValues,
    Times,
    are_same_candles,
    candle_values,
    rows_of,
    stacked,
)
from market.timeframes import Timeframe
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
    new = rows_of(fetched)
    times, values = new.times, new.values
    if reused:
        earlier = Rows.of(reused)
        times = np.concatenate((earlier.times, times))
        values = stacked((earlier.values, values))
        values[:, [_INTEREST, _RATE]] = np.nan
    if not len(times):
        return Merged(Rows(times, values), funding is None, NO_TEXTS)
    place_snapshots(TimedValues.of(open_interest), times, values[:, _INTEREST])
    outdated = fill_rates(funding, times, values[:, _RATE], timeframe.interval_ms, as_of_ms)
    return Merged(Rows(times, values), outdated, fetched.texts)


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
        same &= are_same_candles(candles.values[lines], candle_values(known.values))
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
