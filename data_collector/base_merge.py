"""Puts one market's rows together as base_plan.py planned: kept, made and natively fetched ones.

Where a request failed, rows that had closed in the earlier document stay, and the forming one if
it still forms; one that has closed since is left out, and the market is stale since its close.
Funding rates are merged anew. 8h rows take open interest and funding rates from the 4h rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from data_collector.base_plan import BasePlan, Part, longer_opens
from data_collector.data_processing import with_rate_in_force
from data_collector.life_rows import (
    begin_of_life,
    first_of_life,
    is_of_life,
    settlements_of_life,
)
from data_collector.task_builder import FetchTask
from market.aggregation import aggregate, with_merged
from market.base import STEP_MS, Base
from market.candles import Candle, Candles
from market.columns import column_index
from market.markets import FundingSeries, MarketSeries
from market.merging import fill_rates, place_snapshots
from market.rows import Floats, Rows, TimedValues, Times, are_among, rows_of, widened
from market.timeframes import Timeframe

_VOLUME: Final = column_index("volume")
_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")
_NO_ROWS: Final = Rows.of(())


@dataclass(frozen=True, slots=True)
class MergedFromBase:
    """The series of each timeframe; `funding_outdated` as in data_processing.Merged."""

    series: Mapping[Timeframe, MarketSeries]
    funding_outdated: bool


def merge_from_base(
    plan: BasePlan,
    native: Sequence[Sequence[Candle] | None],
    snapshots: Sequence[tuple[int, float]],
    funding: FundingSeries | None,
    *,
    lacks_open_interest: bool = False,
) -> MergedFromBase | None:
    """The market's series of all the plan's timeframes.

    `native`: the candles of each task of `plan.klines`, None where its request failed;
    `snapshots`: those of `plan.interest`. None: a request failed, and there are no earlier
    documents to use.
    """
    answers = [Candles.of(candles) for candles in native if candles is not None]
    failed = [task for task, got in zip(plan.klines, native, strict=True) if got is None]
    if failed and plan.checked_ms is None:
        return None
    rows, outdated = _NO_ROWS, False
    series: dict[Timeframe, MarketSeries] = {}
    for part in plan.parts:
        lacking, unknown_ms = _failed(plan, part, failed)
        known = [part.kept, part.made.rows, lacking]
        if part.timeframe is plan.timeframe:
            candles = _joined([*known, *(rows_of(candles) for candles in answers)])
            rows, outdated = _merged(plan, part, candles, snapshots, funding)
            made = rows
        else:
            candles = _joined([*known, *_aggregated(plan, answers, rows, part.timeframe)])
            made = _longer(plan, candles, rows, part.timeframe)
            made, old = _with_rate_in_force(plan, made, rows, part.timeframe, funding)
            outdated |= old
        checked_ms, stale_ms = _when(plan, part, unknown_ms, failed=bool(failed))
        series[part.timeframe] = MarketSeries(
            plan.market, made, checked_ms, stale_ms, lacks_open_interest
        )
    return MergedFromBase(series, outdated)


def _when(
    plan: BasePlan, part: Part, unknown_ms: int | None, *, failed: bool
) -> tuple[int, int | None]:
    """When the market's candles were fetched, and since when it is stale."""
    if not failed or plan.checked_ms is None:
        return plan.as_of_ms if plan.base is None else plan.base.as_of_ms, None
    moments = (part.stale_since_ms, unknown_ms, plan.as_of_ms)
    return plan.checked_ms, min(moment for moment in moments if moment is not None)


def _failed(plan: BasePlan, part: Part, failed: Sequence[FetchTask]) -> tuple[Rows, int | None]:
    """The earlier rows that stay because a request failed, and the close of the first candle that
    has closed since and is left out."""
    if not failed or plan.checked_ms is None:
        return _NO_ROWS, None
    step_ms, opens = part.timeframe.interval_ms, part.made.unproven
    asked = np.zeros(len(opens), np.bool_)
    for task in failed:
        asked |= (opens + step_ms > task.start_ms) & (opens <= task.end_ms)
    closes = opens[asked] + step_ms
    closed_since = (closes > plan.checked_ms) & (closes <= plan.as_of_ms)
    stay = np.isin(part.earlier.times + step_ms, closes[~closed_since])
    first_ms = int(closes[closed_since][0]) if closed_since.any() else None
    return part.earlier.select(np.flatnonzero(stay)), first_ms


def _merged(
    plan: BasePlan,
    part: Part,
    rows: Rows,
    snapshots: Sequence[tuple[int, float]],
    funding: FundingSeries | None,
) -> tuple[Rows, bool]:
    """The rows of the present life with open interest and funding rates; writes into `rows`."""
    market, step_ms = plan.market, plan.timeframe.interval_ms
    cut = not is_of_life(market, rows, step_ms)
    if cut:
        rows = rows[first_of_life(market, rows.times, rows.values[:, _VOLUME], step_ms) :]
    times, interest = rows.times, rows.values[:, _INTEREST]
    if not len(times):
        return rows, funding is None
    if plan.base is not None:
        _place_interest_of(plan.base, times, interest)
    if len(snapshots):
        place_snapshots(TimedValues.of(snapshots), times, interest)
    begin_ms = begin_of_life(market, int(times[0]), step_ms)
    first_ms = plan.interest_from_ms
    # A first row without open interest was found to be of another contract's time before.
    if market.since_ms or cut or (len(part.kept) and np.isnan(part.kept.values[0, _INTEREST])):
        first_ms = max(first_ms, begin_ms)
    interest[: np.searchsorted(times, first_ms)] = np.nan
    rates = rows.values[:, _RATE]
    rates[:] = np.nan
    funding = funding and settlements_of_life(funding, begin_ms)
    return rows, fill_rates(funding, times, rates, step_ms, plan.as_of_ms)


def _place_interest_of(base: Base, times: Times, column: Floats) -> None:
    """Writes the base's open interest into the column of rows of these times."""
    begin = int(np.searchsorted(times, base.first_ms))
    found = base.values[(times[begin:] - base.first_ms) // STEP_MS, _INTEREST]
    column[begin:] = np.where(np.isnan(found), column[begin:], found)


def _aggregated(
    plan: BasePlan, answers: Sequence[Candles], rows: Rows, target: Timeframe
) -> list[Rows]:
    """The answers' candles of the present life, aggregated with the sums of their texts."""
    first_ms = int(rows.times[0]) if len(rows) else plan.as_of_ms
    ours = [candles.between(first_ms, plan.as_of_ms) for candles in answers]
    return [
        aggregate(
            rows_of(candles),
            plan.timeframe,
            target,
            window_start_ms=plan.start_ms,
            exact=candles.texts,
        )
        for candles in ours
        if len(candles)
    ]


def _longer(plan: BasePlan, candles: Rows, rows: Rows, target: Timeframe) -> Rows:
    """Those of the longer candles that have rows, with what is merged to these."""
    if not np.array_equal(candles.times, opens := longer_opens(rows.times, target)):
        candles = candles.select(np.flatnonzero(are_among(candles.times, opens)))
    if len(candles) and candles.times[0] < rows.times[0]:
        # The life begins within its first candle, or the exchange has a hole there.
        first = rows.between(0, int(candles.times[0]) + target.interval_ms - 1)
        head = aggregate(first, plan.timeframe, target, window_start_ms=0).values
        candles.values[:1] = widened(head, candles.values.shape[1])[:, : candles.values.shape[1]]
    return with_merged(candles, rows, target)


def _with_rate_in_force(
    plan: BasePlan, made: Rows, rows: Rows, target: Timeframe, funding: FundingSeries | None
) -> tuple[Rows, bool]:
    if not len(rows):
        return made, False
    begin_ms = begin_of_life(plan.market, int(rows.times[0]), plan.timeframe.interval_ms)
    ours = funding and settlements_of_life(funding, begin_ms)
    return with_rate_in_force(made, rows.times, ours, target, plan.timeframe, plan.as_of_ms)


def _joined(parts: Sequence[Rows]) -> Rows:
    """A copy of all rows, ascending; of two with one time the later part's is used."""
    return Rows.joined([part for part in parts if len(part)] or [_NO_ROWS])
