"""The document as it was: a version that was the newest at a time, put together from the record.

Closed candles are those that were known when the version was published, with open interest as it
was known then and the funding of the version of `global_fr` that the document used. Rows that were
forming, and when each market was checked, are told by the entry of the journal, while that is kept.
Metadata is computed anew from the closed candles. Markets are read and encoded some at a time, so
that memory holds their rows and the compressed text of all others.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
import structlog

from database import HistoryTables, LoggedVersion, PublishLog, SeriesKey, Versions
from documents.chunks import KeptMarket, NotFinite, encode_market
from documents.deflated import Deflated, DeflatedPart, deflate, join_parts
from documents.journal import JournalMarket, decode_entry
from documents.names import GLOBAL_FR
from documents.text import DocumentFilter
from history.rates import put_rates
from history.selection import AROUND_MS, MarketName
from market.columns import CANDLE, COLUMNS, VALUES, column_index
from market.markets import Missing
from market.merging import place_snapshots
from market.metadata import MetadataBatch
from market.rows import Rows, TimedValues
from market.timeframes import Timeframe
from stores.cold.history.series import OPEN_INTEREST_MS

# Of one batch of markets: snapshots of open interest (24 bytes each), and markets.
_MOST_SNAPSHOTS: Final = 1_000_000
_MOST_MARKETS: Final = 20  # whose chunks are decoded on the event loop, in some milliseconds
_INTEREST: Final = column_index("open_interest")
_RATE: Final = column_index("funding_rate")
_COMMA: Final = deflate(b",")

_FORGOTTEN: Final = "forgotten"
_KEPT: Final = "kept"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AsOfDocument:
    """A document as it was, compressed. `absent`: requested symbols, in upper case, that it had
    neither among its markets nor in `missing`."""

    version: LoggedVersion
    text: Deflated
    absent: frozenset[str]


def _no_values() -> TimedValues:
    return TimedValues.of(())


@dataclass(slots=True)
class _Market:
    """What is known of one market of the version.

    `checked_ms`: None if it is forgotten. `settled_from_ms`: the first settlement of the funding
    that it used, 0 if that is forgotten. `since_ms`: from when its closed candles are read: those
    of carried-over rows, which the document cuts, are what its metadata is of.
    """

    exchange: str
    symbol: str
    base: str
    quote: str
    first_ms: int
    since_ms: int = 0
    settled_from_ms: int = 0
    checked_ms: int | None = None
    stale_since_ms: int | None = None
    forming: Sequence[Sequence[float | None]] = ()
    candles: Versions | None = field(default=None, repr=False)
    interest: TimedValues = field(default_factory=_no_values, repr=False)
    settled: TimedValues = field(default_factory=_no_values, repr=False)

    @property
    def key(self) -> str:
        """Market.key."""
        return f"{self.exchange}:{self.symbol}"


class AsOfDocuments:
    """Puts documents together. All methods raise DatabaseUnavailable."""

    def __init__(self, tables: HistoryTables, publishes: PublishLog) -> None:
        self._tables = tables
        self._publishes = publishes
        # One at a time: each takes a second of a core, and some megabytes.
        self._turn = asyncio.Semaphore(1)

    async def build(self, version: LoggedVersion, where: DocumentFilter) -> AsOfDocument:
        """The part of the version that `where` selects."""
        async with self._turn:
            funding: LoggedVersion | None = None
            if version.funding_updated_ms is not None:
                funding = await self._publishes.version_at(GLOBAL_FR, version.funding_updated_ms)
            return await _Building(self._tables, version, funding, where).finish()


class _Building:
    """One document in the making."""

    def __init__(
        self,
        tables: HistoryTables,
        version: LoggedVersion,
        funding: LoggedVersion | None,
        where: DocumentFilter,
    ) -> None:
        self._tables = tables
        self._version = version
        self._funding = funding
        self._where = where
        self._timeframe = Timeframe(version.document)

    async def finish(self) -> AsOfDocument:
        version, where = self._version, self._where
        markets = await asyncio.to_thread(self._wanted)
        parts: list[DeflatedPart] = [deflate(self._header())]
        for batch in self._batches(markets):
            await self._read(batch)
            parts += await asyncio.to_thread(self._encoded, batch, len(parts) == 1)
        missing = [Missing(*each) for each in version.missing]  # type: ignore[arg-type]
        told = [each for each in missing if where.matches(each.exchange, each.symbol)]
        parts.append(deflate(b'],"missing":%b}' % orjson.dumps(told)))
        symbols = {name[1].upper() for name in version.markets}
        symbols |= {each.symbol.upper() for each in missing if each.symbol is not None}
        absent = (where.symbols or frozenset()) - symbols
        return AsOfDocument(version, await asyncio.to_thread(join_parts, parts), absent)

    def _wanted(self) -> list[_Market]:
        """The markets that are asked for. CPU work: some ms."""
        version = self._version
        told = _entry_markets(version)
        settled = {} if self._funding is None else _entry_markets(self._funding)
        stale = {each[:2]: each[2:] for each in version.stale}
        markets = []
        for exchange, symbol, base, quote in version.markets:
            if not self._where.matches(exchange, symbol):
                continue
            first_ms = version.first_ms or 0
            market = _Market(exchange, symbol, base, quote, first_ms)
            if (exchange, symbol) in stale:
                market.stale_since_ms, first, market.checked_ms = stale[exchange, symbol]
                market.first_ms = first_ms if first is None else first
            if (known := told.get((exchange, symbol))) is not None:
                market.checked_ms = known.checked_at_ms
                market.first_ms = first_ms if known.first_ms is None else known.first_ms
                market.stale_since_ms = known.stale_since_ms
                market.forming = known.forming
            if (rates := settled.get((exchange, symbol))) is not None:
                market.settled_from_ms = rates.first_ms or 0
            market.since_ms = market.first_ms
            if market.stale_since_ms is not None and version.candles is not None:
                collected = self._timeframe.collected_as
                begun_ms = collected.window_start(self._checked_ms(market), version.candles)
                market.since_ms = min(market.first_ms, begun_ms)
            markets.append(market)
        return markets

    def _batches(self, markets: Sequence[_Market]) -> Iterator[list[_Market]]:
        if not markets:
            return
        span_ms = self._version.as_of_ms - min(market.since_ms for market in markets)
        count = max(1, min(_MOST_MARKETS, _MOST_SNAPSHOTS * OPEN_INTEREST_MS // max(1, span_ms)))
        for start in range(0, len(markets), count):
            yield list(markets[start : start + count])

    async def _read(self, batch: Sequence[_Market]) -> None:
        """Reads the series of some markets, as they were known then."""
        version, timeframe = self._version, self._timeframe
        first_ms = min(market.since_ms for market in batch)
        end_ms = version.as_of_ms + 1
        candles = [SeriesKey.candles(each.exchange, each.symbol, timeframe) for each in batch]
        interest = [SeriesKey.open_interest(each.exchange, each.symbol) for each in batch]
        funding = [SeriesKey.funding(each.exchange, each.symbol) for each in batch]
        known_ms = version.updated_at_ms
        async with self._tables.snapshot() as snapshot:
            found = await snapshot.versions(candles, first_ms, end_ms, as_of_ms=known_ms)
            snapshots = await snapshot.versions(interest, first_ms, end_ms, as_of_ms=known_ms)
            settled: Mapping[SeriesKey, Versions] = {}
            if version.funding_updated_ms is not None:
                settled = await snapshot.versions(
                    funding,
                    max(0, first_ms - AROUND_MS),
                    end_ms,
                    as_of_ms=version.funding_updated_ms,
                )
        for place, market in enumerate(batch):
            market.candles = found[candles[place]]
            market.interest = _timed(snapshots[interest[place]], timeframe.interval_ms)
            if (rates := settled.get(funding[place])) is not None:
                market.settled = _timed(rates).between(market.settled_from_ms, end_ms)

    def _encoded(self, batch: Sequence[_Market], is_first: bool) -> list[DeflatedPart]:
        """The markets' JSON, compressed. CPU work: about 2 ms for each."""
        whole = {market.key: self._rows(market) for market in batch}
        metadata = MetadataBatch(self._timeframe)
        for market in batch:
            metadata.add(market.key, whole[market.key], self._checked_ms(market))
        metas = metadata.finish()
        parts: list[DeflatedPart] = []
        for market in batch:
            head = {
                "exchange": market.exchange,
                "symbol": market.symbol,
                "base": market.base,
                "quote": market.quote,
                "meta": metas[market.key],
                "checked_at": market.checked_ms,
                "stale_since": market.stale_since_ms,
            }
            text = orjson.dumps(head)[:-1] + b',"rows":['
            rows = self._selected(whole[market.key], market.first_ms)
            try:
                chunks, _ = encode_market(text, rows, self._timeframe.interval_ms, KeptMarket())
            except NotFinite:
                log.error("market_rows_invalid", market=market.key)
                continue
            if parts or not is_first:
                parts.append(_COMMA)
            parts += (chunk.part for chunk in chunks)
        return parts

    def _checked_ms(self, market: _Market) -> int:
        """By which time the document had seen candles close."""
        return self._version.as_of_ms if market.checked_ms is None else market.checked_ms

    def _rows(self, market: _Market) -> Rows:
        """The market's rows, closed and forming ones."""
        assert market.candles is not None  # noqa: S101 - _read has set it
        times = market.candles.times
        begin = int(times.searchsorted(market.since_ms))
        last_ms = self._timeframe.last_closed_open_time(self._checked_ms(market))
        end = int(times.searchsorted(last_ms, side="right"))
        times = times[begin:end]
        values = np.full((len(times), len(VALUES)), np.nan)
        values[:, CANDLE] = market.candles.values[begin:end]
        if len(times):
            place_snapshots(market.interest, times, values[:, _INTEREST])
            name = MarketName(market.exchange, market.symbol)
            put_rates(market.settled, name, times, values[:, _RATE], self._timeframe.interval_ms)
        closed = Rows(times, values)
        if not market.forming:
            return closed
        forming = np.array(market.forming, np.float64)
        return Rows.joined([closed, Rows(forming[:, 0].astype(np.int64), forming[:, 1:])])

    def _selected(self, rows: Rows, first_ms: int) -> Rows:
        """The document's rows that are asked for, as documents/text.py selects them."""
        where = self._where
        begin, end = int(rows.times.searchsorted(max(first_ms, where.since_ms or 0))), len(rows)
        if where.closed:
            last_ms = self._timeframe.last_closed_open_time(self._version.as_of_ms)
            end = max(begin, int(rows.times.searchsorted(last_ms, side="right")))
        if where.limit is not None:
            begin = max(begin, end - where.limit)
        return rows.select(slice(begin, end))

    def _header(self) -> bytes:
        """The JSON up to the first market: that of the document, and what is not as it was."""
        version, timeframe = self._version, self._timeframe
        header: dict[str, Any] = {
            "timeframe": timeframe,
            "interval_ms": timeframe.interval_ms,
            "version": version.version,
            "as_of": version.as_of_ms,
            "updated_at": version.updated_at_ms,
            "last_closed_open_time": timeframe.last_closed_open_time(version.as_of_ms),
            "source": "collected" if timeframe.collected_as is timeframe else "aggregated",
            "columns": COLUMNS,
            "forming_rows": _FORGOTTEN if version.entry is None else _KEPT,
        }
        return orjson.dumps(header)[:-1] + b',"markets":['


def _entry_markets(version: LoggedVersion) -> Mapping[tuple[str, str], JournalMarket]:
    """The markets of a version's entry by exchange and symbol, none if it is forgotten."""
    if version.entry is None:
        return {}
    try:
        markets = decode_entry(version.entry).markets
    except ValueError as error:
        log.error("journal_entry_unreadable", document=version.document, error=str(error))
        return {}
    return {(market.exchange, market.symbol): market for market in markets}


def _timed(found: Versions, grid_ms: int = 1) -> TimedValues:
    if grid_ms == 1:
        return TimedValues(found.times, found.values)
    lines = np.flatnonzero(found.times % grid_ms == 0)
    return TimedValues(found.times[lines], found.values[lines])
