"""Plans which series fill in the open interest of first collections, and places it in their rows.

A snapshot is the same number in every period. So one finer series serves several timeframes of an
hour or more, where that takes no more requests than series of their own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from data_collector.life_rows import begin_of_life
from data_collector.task_builder import FetchTask, open_interest_task
from data_collector.url_builder import endpoint_table, source_period
from market.columns import column_index
from market.markets import Exchange, Market
from market.rows import Rows, TimedValues
from market.timeframes import Timeframe
from venues.venue import Endpoint

_INTEREST: Final = column_index("open_interest")

Span = tuple[int, int]  # the first and the last instant


@dataclass(frozen=True, slots=True)
class Series:
    """Snapshots of one period, from `first_ms` to `last_ms`, for the rows of these timeframes."""

    period: Timeframe
    first_ms: int
    last_ms: int
    timeframes: tuple[Timeframe, ...]

    def pages(self, exchange: Exchange) -> int:
        """The requests that it takes."""
        snapshots = (self.last_ms - self.first_ms) // self.period.interval_ms + 1
        return -(-snapshots // endpoint_table(exchange, Endpoint.OPEN_INTEREST).page_limit)

    def joined(self, other: "Series") -> "Series":
        """This series, of the same or a finer period, made longer to serve the other's timeframes
        too."""
        return replace(
            self,
            first_ms=min(self.first_ms, other.first_ms),
            last_ms=max(self.last_ms, other.last_ms),
            timeframes=(*self.timeframes, *other.timeframes),
        )


def lacking(rows: Rows) -> Span | None:
    """The first and the last row without open interest; None if every row has it."""
    times = rows.times[np.isnan(rows.values[:, _INTEREST])]
    return (int(times[0]), int(times[-1])) if len(times) else None


def served(exchange: Exchange, timeframe: Timeframe, span: Span, as_of_ms: int) -> Span | None:
    """The part of the span that the exchange still serves at `as_of_ms`; None: nothing."""
    first_ms, last_ms = span
    period = source_period(exchange, Endpoint.OPEN_INTEREST, timeframe)
    if period is None:
        return None
    table = endpoint_table(exchange, Endpoint.OPEN_INTEREST)
    reach_ms = table.reach_ms(period.interval_ms)
    if reach_ms is not None:
        step_ms = timeframe.interval_ms
        first_ms = max(first_ms, -(-(as_of_ms - reach_ms) // step_ms) * step_ms)
    return (first_ms, last_ms) if first_ms <= last_ms else None


def plan_series(exchange: Exchange, spans: Mapping[Timeframe, Span], as_of_ms: int) -> list[Series]:
    """The series to ask for, for what collected timeframes lack.

    Those of an hour or more come first, because they complete the most documents.
    """
    longer: list[Series] = []
    shorter: list[Series] = []
    for series in _of_sources(exchange, spans, as_of_ms):
        if series.period.interval_ms < Timeframe.H1.interval_ms:
            shorter.append(series)
        elif (place := _cheapest(exchange, longer, series)) is not None:
            longer[place] = longer[place].joined(series)
        else:
            longer.append(series)
    return [*longer, *shorter]


def fetch_task(market: Market, series: Series, as_of_ms: int) -> FetchTask | None:
    """The task of the series; None if the exchange serves nothing of it any more."""
    step_ms = series.period.interval_ms
    end_ms = max(as_of_ms, series.last_ms)
    snapshots = (series.period.floor(end_ms) - series.first_ms) // step_ms + 1
    task = open_interest_task(series.period, market, as_of_ms=end_ms, history_candles=snapshots)
    if task is None or task.start_ms > series.last_ms:
        return None
    last_ms = series.period.floor(series.last_ms)
    return replace(task, end_ms=last_ms, newest_ms=min(task.newest_ms, last_ms))


def filled(market: Market, timeframe: Timeframe, rows: Rows, snapshots: TimedValues) -> Rows:
    """The rows with the snapshots at their open times, where they have none.

    What is older than the market's present life is another contract's.
    """
    if not len(rows) or not len(snapshots):
        return rows
    begin_ms = begin_of_life(market, int(rows.times[0]), timeframe.interval_ms)
    return _placed(rows, snapshots.between(begin_ms, int(rows.times[-1])))


def filled_from(rows: Rows, shorter: Rows) -> Rows:
    """The rows of an aggregated timeframe with the open interest of those that they are made of,
    where they have none."""
    return _placed(rows, shorter.non_null("open_interest"))


def _placed(rows: Rows, snapshots: TimedValues) -> Rows:
    if not len(snapshots):
        return rows
    lines = np.searchsorted(snapshots.times, rows.times)
    lines[lines == len(snapshots)] = 0
    there = (snapshots.times[lines] == rows.times) & np.isnan(rows.values[:, _INTEREST])
    if not there.any():
        return rows
    values = rows.values.copy()
    values[there, _INTEREST] = snapshots.numbers[lines[there]]
    return Rows(rows.times, values)


def _of_sources(
    exchange: Exchange, spans: Mapping[Timeframe, Span], as_of_ms: int
) -> Iterable[Series]:
    """One series for each period that the exchange serves, ascending."""
    found: dict[Timeframe, Series] = {}
    for timeframe, span in spans.items():
        period = source_period(exchange, Endpoint.OPEN_INTEREST, timeframe)
        ours = served(exchange, timeframe, span, as_of_ms)
        if period is None or ours is None:
            continue
        series = Series(period, *ours, (timeframe,))
        found[period] = found[period].joined(series) if period in found else series
    return (found[period] for period in sorted(found, key=lambda period: period.interval_ms))


def _cheapest(exchange: Exchange, among: list[Series], series: Series) -> int | None:
    """The place of the series that can serve this one's timeframes too with the fewest additional
    requests; None if none can with as few as the series itself takes."""
    costs = {
        place: other.joined(series).pages(exchange) - other.pages(exchange)
        for place, other in enumerate(among)
        if series.period.interval_ms % other.period.interval_ms == 0
    }
    place = min(costs, key=lambda place: costs[place], default=None)
    return place if place is not None and costs[place] <= series.pages(exchange) else None
