"""The rows of the record that an entry of the journal, or a whole market, stands for; no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Final, NamedTuple

import numpy as np

from database import SeriesKey, SeriesRows, Versions
from documents.journal import JournalEntry, JournalMarket, Row
from documents.names import GLOBAL_FR
from market.columns import CANDLE, TIME, VALUES, column_index
from market.markets import FundingSeries, MarketSeries
from market.rows import Floats, Rows, TimedValues, Times, are_among
from market.timeframes import Timeframe

_INTEREST: Final = column_index("open_interest")
_NO_TIMES: Final = np.empty(0, np.int64)


class ToldRows(NamedTuple):
    """Rows of a series. `window`: from its first to its last time (UTC ms) the rows are all that
    the document has; None: it has others, too."""

    rows: SeriesRows
    window: tuple[int, int] | None = None

    def without_others(self, stored: Mapping[SeriesKey, Versions]) -> SeriesRows:
        """The rows, with those as removed that are stored in the window and not among them."""
        versions = stored.get(self.rows.key)
        if versions is None or self.window is None:
            return self.rows
        first_ms, last_ms = self.window
        begin, end = versions.times.searchsorted((first_ms, last_ms + 1))
        inside = versions.times[begin:end]
        return replace(self.rows, removed=inside[~are_among(inside, self.rows.times)])


def rows_of_entry(entry: JournalEntry) -> list[ToldRows]:
    """What the entry tells of rows, and open interest of forming ones. CPU work: about 10 ms for
    1000 markets."""
    if entry.document == GLOBAL_FR:
        return [rows for market in entry.markets for rows in _settled(market)]
    return list(_traded(entry, Timeframe(entry.document)))


def rows_of_series(series: MarketSeries, timeframe: Timeframe) -> Iterator[ToldRows]:
    """All closed rows of a market, and the open interest of all its rows."""
    market, rows = series.market, Rows.of(series.rows)
    last_ms = timeframe.last_closed_open_time(series.checked_at_ms)
    closed = rows.select(slice(0, int(rows.times.searchsorted(last_ms, side="right"))))
    if len(closed):
        key = SeriesKey.candles(market.exchange, market.symbol, timeframe)
        candles = SeriesRows(key, closed.times, closed.values[:, CANDLE])
        yield ToldRows(candles, (int(closed.times[0]), last_ms))
    yield from _interest(market.exchange, market.symbol, rows, series.stale_since_ms)


def rows_of_settlements(series: FundingSeries) -> Iterator[ToldRows]:
    """All settlements of a market."""
    rows = TimedValues.of(series.rows)
    if len(rows):
        key = SeriesKey.funding(series.market.exchange, series.market.symbol)
        window = int(rows.times[0]), max(int(rows.times[-1]), series.checked_at_ms)
        yield ToldRows(SeriesRows(key, rows.times, rows.values), window)


def _settled(market: JournalMarket) -> Iterator[ToldRows]:
    if (change := market.change) is None:
        return
    key = SeriesKey.funding(market.exchange, market.symbol)
    times, values = _arrays(_ascending(change.closed, change.corrected), 1)
    rows = SeriesRows(key, times, values, _times(change.removed))
    yield ToldRows(rows, _window(market, times, market.checked_at_ms))


def _traded(entry: JournalEntry, timeframe: Timeframe) -> Iterator[ToldRows]:
    """All rows are made one array, of which each market has a part: that takes half the time."""
    lines: list[Row] = []
    parts: list[tuple[JournalMarket, int, int, int]] = []
    for market in entry.markets:
        begin = len(lines)
        if (change := market.change) is not None:
            lines += _ascending(change.closed, change.corrected)
        end = len(lines)
        lines += market.forming
        if len(lines) > begin or change is not None:
            parts.append((market, begin, end, len(lines)))
    times, values = _arrays(lines, len(VALUES))
    candles, interest = values[:, CANDLE], values[:, _INTEREST : _INTEREST + 1]
    is_there = ~np.isnan(interest[:, 0])
    for market, begin, end, last in parts:
        exchange, symbol = market.exchange, market.symbol
        if (change := market.change) is not None:
            key = SeriesKey.candles(exchange, symbol, timeframe)
            of, removed = times[begin:end], _times(change.removed)
            last_ms = timeframe.last_closed_open_time(market.checked_at_ms)
            rows = SeriesRows(key, of, candles[begin:end], removed)
            yield ToldRows(rows, _window(market, of, last_ms))
        there = np.flatnonzero(is_there[begin:last]) + begin
        if len(there):
            key = SeriesKey.open_interest(exchange, symbol)
            corrects = market.stale_since_ms is None
            yield ToldRows(SeriesRows(key, times[there], interest[there], corrects=corrects))


def _window(market: JournalMarket, times: Times, last_ms: int) -> tuple[int, int] | None:
    return (int(times[0]), last_ms) if market.is_new and len(times) else None


def _interest(
    exchange: str, symbol: str, rows: Rows, stale_since_ms: int | None
) -> Iterator[ToldRows]:
    """Open interest; snapshots that a document lacks are not known to be gone. What was carried
    over is older than what another document may have told meanwhile."""
    snapshots = rows.non_null(VALUES[_INTEREST].name)
    if len(snapshots):
        key = SeriesKey.open_interest(exchange, symbol)
        corrects = stale_since_ms is None
        yield ToldRows(SeriesRows(key, snapshots.times, snapshots.values, corrects=corrects))


def _ascending(closed: Sequence[Row], corrected: Sequence[Row]) -> Sequence[Row]:
    """The rows of both, by time; each ascends."""
    return sorted([*closed, *corrected], key=itemgetter(TIME)) if corrected else closed


def _arrays(told: Sequence[Row], width: int) -> tuple[Times, Floats]:
    """The times and the values of rows of so many values; NaN for null. Raises ValueError for rows
    of another width, which a later release may have written."""
    lines = np.array(told, np.float64) if told else np.empty((0, width + 1))
    if lines.shape != (len(told), width + 1):
        raise ValueError(f"rows of shape {lines.shape} in place of {width + 1} columns")
    return lines[:, TIME].astype(np.int64), lines[:, TIME + 1 :]


def _times(removed: Sequence[int]) -> Times:
    return np.array(removed, np.int64) if removed else _NO_TIMES
