"""Answers to the asks of a backfill: fetched from an exchange, as rows that the record takes in.

Rows that cannot be right are left out, and their instants count as not answered for. A part of a
window that the exchange refuses is no longer served; what is after it is asked for again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_collector.fetch_strategies import fetch_funding, fetch_klines, fetch_open_interest
from data_collector.run import CollectionRun
from data_collector.task_builder import FetchTask
from database import FillRows
from history.backfill.asks import Ask
from history.backfill.ranges import Range, ceil, floor, without
from history.backfill.series import Series
from market.aggregation import aggregate
from market.candles import Candles
from market.columns import CANDLE
from market.left_out import LeftOut
from market.rows import Floats, Rows, TimedValues, Times
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from venues.errors import WindowRefused
from venues.venue import Order

# An exchange's horizon moves on, and its words for it are loose: so often a refused window is
# halved.
_MOST_HALVINGS: Final = 6


@dataclass(slots=True)
class Answer:
    """`rows`: for the record; `left_out`: rows that cannot be right; `out_of_reach`: instants that
    the exchange does not serve any more."""

    rows: list[FillRows]
    left_out: list[LeftOut]
    out_of_reach: int = 0


async def fetch_answer(run: CollectionRun, ask: Ask, now_ms: int) -> Answer:
    """What the exchange answers to the ask; `now_ms` is its time. Raises ExchangeError."""
    from_ms, step_ms = ask.from_ms, ask.series.step_ms
    reach_ms = ask.series.stage.reach_ms
    if reach_ms is not None:
        from_ms = max(from_ms, ceil(now_ms - reach_ms + MINUTE_MS, ask.series.reach_step_ms))
    answer = Answer([], [])
    begin_ms = ask.to_ms
    if from_ms < ask.to_ms:
        begin_ms = await _fetch(run, replace(ask, from_ms=from_ms), answer, _MOST_HALVINGS)
    if reach_ms is not None:
        answer.out_of_reach = (begin_ms - ask.from_ms) // step_ms
    return answer


async def _fetch(run: CollectionRun, ask: Ask, answer: Answer, halvings: int) -> int:
    """Adds what is served; returns from when on it is."""
    left_out: list[LeftOut] = []
    try:
        rows = await _rows(run, ask, left_out)
    except WindowRefused:
        step_ms = ask.series.step_ms
        if ask.series.stage.reach_ms is None:
            raise
        middle_ms = ask.from_ms + ceil((ask.to_ms - ask.from_ms) // 2, step_ms)
        if halvings == 0 or middle_ms >= ask.to_ms:
            return ask.to_ms
        begin_ms = await _fetch(run, replace(ask, from_ms=middle_ms), answer, halvings - 1)
        if begin_ms > middle_ms:
            return begin_ms  # and nothing older is
        return await _fetch(run, replace(ask, to_ms=middle_ms), answer, halvings - 1)
    answer.left_out += left_out
    answer.rows += _parts(ask, rows.times, rows.values, left_out)
    if isinstance(rows, Candles):
        for timeframe in ask.series.stage.makes:
            answer.rows += _made(ask, timeframe, rows, left_out)
    return ask.from_ms


async def _rows(run: CollectionRun, ask: Ask, left_out: list[LeftOut]) -> Candles | TimedValues:
    series, stage = ask.series, ask.series.stage
    step_ms = 1 if stage.period is None else series.step_ms
    task = FetchTask(
        series.market,
        stage.endpoint,
        stage.period,
        ask.from_ms,
        ask.to_ms - step_ms,
        _settlement_step(series) if stage.period is None else step_ms,
        newest_ms=ask.to_ms - step_ms,
    )
    if stage.what == "candles":
        return Candles.of(await fetch_klines(run, task, left_out))
    if stage.what == "open_interest":
        return TimedValues.of(await fetch_open_interest(run, task, left_out))
    return TimedValues.of(await fetch_funding(run, task, left_out))


def _settlement_step(series: Series) -> int:
    """How near to its end a page of settlements shows that nothing follows. A page that begins with
    the oldest may be cut between two that are an hour apart."""
    ascends = series.stage.table.order is Order.ASCENDING
    return HOUR_MS if ascends else series.step_ms


def _parts(ask: Ask, times: Times, values: Floats, left_out: Sequence[LeftOut]) -> list[FillRows]:
    """The rows of the window; the instants of what was left out are not covered."""
    series, window = ask.series, (ask.from_ms, ask.to_ms)
    bad = _bad_ranges(left_out, series.step_ms if series.stage.period else MINUTE_MS)
    if bad is None:  # nobody knows of which instants
        return [_part(series, window, times, values, covered=False)]
    good = without([window], bad)
    others = [_part(series, part, times, values, covered=False) for part in without([window], good)]
    return [
        *(_part(series, part, times, values, covered=True) for part in good),
        *(part for part in others if len(part.times)),
    ]


def _part(series: Series, part: Range, times: Times, values: Floats, *, covered: bool) -> FillRows:
    begin, end = times.searchsorted(part)
    return FillRows(
        series.key,
        *part,
        times[begin:end],
        values[begin:end],
        covered=covered,
        step_ms=series.grid_ms,
    )


def _bad_ranges(left_out: Iterable[LeftOut], step_ms: int) -> list[Range] | None:
    """The instants of rows that were left out; None if one of them has no time."""
    found = []
    for row in left_out:
        if row.time_ms <= 0 or row.after or not row.reason:
            return None
        start_ms = floor(row.time_ms, step_ms)
        # One off the grid may have been of the instant before it or after it.
        steps = 1 if start_ms == row.time_ms or step_ms == MINUTE_MS else 2
        found.append((start_ms, start_ms + steps * step_ms))
    return found


def _made(
    ask: Ask, timeframe: Timeframe, candles: Candles, left_out: Sequence[LeftOut]
) -> list[FillRows]:
    """Longer candles that are wholly in the window, made as the documents make them. One of which a
    part was left out is not made."""
    longer_ms = timeframe.interval_ms
    whole = ceil(ask.from_ms, longer_ms), floor(ask.to_ms, longer_ms)
    bad = _bad_ranges(left_out, longer_ms)
    if whole[0] >= whole[1] or bad is None:
        return []
    values = np.full((len(candles), len(Rows.names)), np.nan)
    values[:, CANDLE] = candles.values
    assert ask.series.stage.period is not None  # noqa: S101 - candles have one
    rows = aggregate(
        Rows(candles.times, values),
        ask.series.stage.period,
        timeframe,
        window_start_ms=whole[0],
        exact=candles.texts,
    )
    key = ask.series.key_of(timeframe)
    found = []
    for part in without([whole], bad):
        begin, end = rows.times.searchsorted(part)
        longer = rows.values[begin:end, CANDLE]
        found.append(FillRows(key, *part, rows.times[begin:end], longer, covered=True))
    return found
