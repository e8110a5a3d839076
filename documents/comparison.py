"""Comparison: finds what a document in the making changes, market by market.

A row counts as closed once its market was fetched after its close: `checked_at` decides, so that a
carried-over row that was still forming is told when its close has been seen.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from documents.changes import (
    AbsentExchange,
    Changes,
    MarketChange,
    StaleMarket,
    encode_change,
    encode_changes,
)
from documents.journal import EncodedEntry
from documents.journal_draft import MOST_ROWS, JournalDraft
from market.markets import Market, MarketSeries, Missing, UnreadableSeries
from market.previous_series import PreviousSeries
from market.rows import Floats, Rows, are_among, located
from market.timeframes import Timeframe

_NO_ROWS: Final = Rows.of(())
_NO_LINES: Final = np.zeros(0, np.intp)


class Comparison:
    """Compares each market with that of `previous`, the stored version; None: there is none.

    `journal`: makes the entry for the history, if one is wanted. `trade_columns`: the document has
    those of trades; the history does not, so that it gets rows without, and fewer.
    """

    def __init__(
        self,
        timeframe: Timeframe,
        previous: PreviousSeries | None,
        journal: JournalDraft | None = None,
        *,
        trade_columns: bool = False,
    ) -> None:
        self._timeframe = timeframe
        self._trade_columns = trade_columns
        self._journal = journal
        self._previous: Mapping[str, MarketSeries] = previous if previous is not None else {}
        self._base = previous.version if previous is not None else 0
        self._before = frozenset(self._previous)
        self._was_stale: dict[str, tuple[str, str | None]] = {}
        self._now: dict[str, Market] = {}
        self._changed = _Changed()
        self._recorded = _Changed() if trade_columns and journal is not None else self._changed
        self._stale: dict[str, StaleMarket] = {}

    def add(self, series: MarketSeries) -> None:
        """Compares the market; before the series of before is replaced by it."""
        market = series.market
        self._now[market.key] = market
        if series.stale_since_ms is not None:
            since_ms = series.stale_since_ms
            self._stale[market.key] = StaleMarket(market.exchange, market.symbol, since_ms)
        try:
            before = self._previous.get(market.key)
        except UnreadableSeries:
            self._base, before = None, None
        if self._journal is not None:
            self._journal.add(series, is_new=before is None)
        if before is not None and before.stale_since_ms is not None:
            self._was_stale[market.key] = (market.exchange, market.symbol)
        if self._base is None:
            return
        change = compare(self._timeframe, before, series, trade_columns=self._trade_columns)
        if change is not None:
            self._changed.keep(market.key, change)
        if self._recorded is not self._changed and change is not None:
            narrow = compare(self._timeframe, before, series)
            if narrow is not None:
                self._recorded.keep(market.key, narrow)

    def remove(self, market: Market) -> None:
        """Takes the market out again, if it was added."""
        self._now.pop(market.key, None)
        self._stale.pop(market.key, None)
        if self._journal is not None:
            self._journal.remove(market)
        for changed in self._kept():
            changed.remove(market.key)

    def finish(self, missing: Iterable[Missing]) -> Changes | None:
        """What has changed; None if the version before is not known."""
        if self._base is None:
            return None
        for key in sorted(self._before - self._now.keys()):
            exchange, _, symbol = key.partition(":")
            for changed in self._kept():
                changed.keep(key, MarketChange(exchange, symbol, is_gone=True))
        counts = Counter(str(market.exchange) for market in self._now.values())
        absent = [
            AbsentExchange(lack.exchange, lack.reason)
            for lack in sorted(set(missing))
            if lack.symbol is None and lack.part == "listing"
        ]
        recovered = [
            self._was_stale[key]
            for key in sorted(self._was_stale.keys() & self._now.keys() - self._stale.keys())
        ]
        if self._base:
            there = {key.partition(":")[0] for key in self._before}
            recovered += ((exchange, None) for exchange in sorted(counts.keys() - there))
        stale = len(self._stale) + len(recovered) + len(absent)
        text = b""
        rows = self._changed.rows
        if rows or stale:
            told = self._changed.encoded()
            markets = [told[key] for key in sorted(told)] if told is not None else None
            stale_markets = [self._stale[key] for key in sorted(self._stale)]
            text = encode_changes(markets, stale_markets, recovered, absent, counts)
        return Changes(self._base, rows, stale, text)

    def journal_entry(
        self, *, version: int, as_of_ms: int, updated_at_ms: int, missing: Iterable[Missing]
    ) -> EncodedEntry | None:
        """The entry of the finished document; None if none is wanted. CPU work."""
        if self._journal is None:
            return None
        return self._journal.finish(
            self._base,
            self._recorded.encoded(),
            version=version,
            as_of_ms=as_of_ms,
            updated_at_ms=updated_at_ms,
            missing=missing,
        )

    def _kept(self) -> Iterable["_Changed"]:
        return (self._changed, *[self._recorded] * (self._recorded is not self._changed))


class _Changed:
    """What markets change, encoded, which takes a third of the memory; none of it once there is too
    much."""

    def __init__(self) -> None:
        self.rows = 0
        self._by_key: dict[str, tuple[bytes, int]] = {}

    def keep(self, key: str, change: MarketChange) -> None:
        rows = 1 if change.is_gone else _size(change)
        self.rows += rows
        if self.rows <= MOST_ROWS:
            self._by_key[key] = encode_change(change), rows
        else:
            self._by_key.clear()

    def remove(self, key: str) -> None:
        _, rows = self._by_key.pop(key, (b"", 0))
        self.rows -= rows

    def encoded(self) -> dict[str, bytes] | None:
        """By Market.key; None if it is too much."""
        if self.rows > MOST_ROWS:
            return None
        return {key: change for key, (change, _) in self._by_key.items()}


def compare(
    timeframe: Timeframe,
    before: MarketSeries | None,
    now: MarketSeries,
    *,
    trade_columns: bool = False,
) -> MarketChange | None:
    """What has changed among the closed rows of a market; None if nothing has. With `trade_columns`
    also in those of trades, else nothing tells of them."""
    market, ours = now.market, _closed(timeframe, now).fitted(trade_columns)
    theirs = _NO_ROWS if before is None else _closed(timeframe, before)
    theirs = theirs.fitted(trade_columns)
    begin = int(theirs.times.searchsorted(ours.times[0])) if len(ours) else 0
    known = len(theirs) - begin
    if len(ours) and 0 <= known <= len(ours):
        before_ms, now_ms = theirs.times[begin:], ours.times[:known]
        if bool((before_ms == now_ms).all()):
            others = _others(ours.values[:known], theirs.values[begin:])
            change = MarketChange(
                market.exchange,
                market.symbol,
                list(ours.select(slice(known, None)).tuples()),
                list(ours.select(others).tuples()) if len(others) else (),
            )
            return change if _size(change) else None
    is_known, lines = located(ours.times, theirs.times)
    others = _others(ours.values[is_known], theirs.values[lines[is_known]])
    corrected = ours.select(np.flatnonzero(is_known)[others])
    first_ms = int(now.rows[0][0]) if len(now.rows) else 0
    in_window = theirs.times[theirs.times >= first_ms]
    change = MarketChange(
        market.exchange,
        market.symbol,
        list(ours.select(np.flatnonzero(~is_known)).tuples()),
        list(corrected.tuples()),
        in_window[~are_among(in_window, ours.times)].tolist(),
    )
    return change if _size(change) else None


def _closed(timeframe: Timeframe, series: MarketSeries) -> Rows:
    """The rows whose close had come when the market was fetched."""
    rows = Rows.of(series.rows)
    last_ms = timeframe.last_closed_open_time(series.checked_at_ms)
    if len(rows) and rows.times[-1] <= last_ms:
        return rows
    return rows.select(slice(0, int(rows.times.searchsorted(last_ms, side="right"))))


def _others(ours: Floats, theirs: Floats) -> npt.NDArray[np.intp]:
    """The lines in which a number is another one; a null equals a null."""
    if np.array_equal(_bits(ours), _bits(theirs)):
        return _NO_LINES
    lines = np.flatnonzero((_bits(ours) != _bits(theirs)).any(axis=1))
    here, there = ours[lines], theirs[lines]
    same = ((here == there) | (np.isnan(here) & np.isnan(there))).all(axis=1)
    return lines[np.flatnonzero(~same)]


def _bits(values: Floats) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    """The values, in which a null equals a null."""
    return np.ascontiguousarray(values).view(np.int64)


def _size(change: MarketChange) -> int:
    return len(change.closed) + len(change.corrected) + len(change.removed)
