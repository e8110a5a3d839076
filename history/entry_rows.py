"""The rows of the record that an entry of the journal, or a whole market, stands for; no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from database import SeriesKey, SeriesRows, Versions
from documents.journal import JournalEntry, JournalMarket, Row
from documents.names import GLOBAL_FR
from market.columns import CANDLE, TIME, VALUES, column_index
from market.markets import FundingSeries, MarketSeries
from market.rows import Floats, Rows, TimedValues, Times, are_among
from market.timeframes import Timeframe

_INTEREST: Final = VALUES[column_index("open_interest")].name


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
    """What the entry tells of rows, and open interest of forming ones. CPU work: about 20 ms for
    1000 markets."""
    if entry.document == GLOBAL_FR:
        return [rows for market in entry.markets for rows in _settled(market)]
    timeframe = Timeframe(entry.document)
    return [rows for market in entry.markets for rows in _traded(market, timeframe)]


def rows_of_series(series: MarketSeries, timeframe: Timeframe) -> Iterator[ToldRows]:
    """All closed rows of a market, and the open interest of all its rows."""
    market, rows = series.market, Rows.of(series.rows)
    last_ms = timeframe.last_closed_open_time(series.checked_at_ms)
    closed = rows.select(slice(0, int(rows.times.searchsorted(last_ms, side="right"))))
    if len(closed):
        key = SeriesKey.candles(market.exchange, market.symbol, timeframe)
        candles = SeriesRows(key, closed.times, closed.values[:, CANDLE])
        yield ToldRows(candles, (int(closed.times[0]), last_ms))
    yield from _interest(market.exchange, market.symbol, rows)


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
    times, values = _lines([*change.closed, *change.corrected], 1)
    rows = SeriesRows(key, times, values, _times(change.removed))
    yield ToldRows(rows, _window(market, times, market.checked_at_ms))


def _traded(market: JournalMarket, timeframe: Timeframe) -> Iterator[ToldRows]:
    told: list[Row] = []
    if (change := market.change) is not None:
        told = [*change.closed, *change.corrected]
        times, values = _lines(told, len(VALUES))
        key = SeriesKey.candles(market.exchange, market.symbol, timeframe)
        rows = SeriesRows(key, times, values[:, CANDLE], _times(change.removed))
        last_ms = timeframe.last_closed_open_time(market.checked_at_ms)
        yield ToldRows(rows, _window(market, times, last_ms))
    told += market.forming
    if told:
        yield from _interest(market.exchange, market.symbol, Rows(*_lines(told, len(VALUES))))


def _window(market: JournalMarket, times: Times, last_ms: int) -> tuple[int, int] | None:
    return (int(times[0]), last_ms) if market.is_new and len(times) else None


def _interest(exchange: str, symbol: str, rows: Rows) -> Iterator[ToldRows]:
    """Open interest; snapshots that a document lacks are not known to be gone."""
    snapshots = rows.non_null(_INTEREST)
    if len(snapshots):
        key = SeriesKey.open_interest(exchange, symbol)
        yield ToldRows(SeriesRows(key, snapshots.times, snapshots.values))


def _lines(told: Sequence[Row], width: int) -> tuple[Times, Floats]:
    """The times, ascending, and the values of rows of so many values; NaN for null."""
    lines = np.array(told, np.float64).reshape(-1, width + 1)
    lines = lines[np.argsort(lines[:, TIME], kind="stable")]
    return lines[:, TIME].astype(np.int64), lines[:, TIME + 1 :]


def _times(removed: Sequence[int]) -> Times:
    return np.array(removed, np.int64)
