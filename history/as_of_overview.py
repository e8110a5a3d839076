"""The overview as it was: made of what the record says was known when a 5m document was published.

The computation is the one by which workers make theirs. Of the record come the closed 5m candles,
open interest and settlements that were known then, and which markets there were. The interval of
funding is what the document of funding told; where the record does not have it, as before it was
recorded, funding is null.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from database import HistoryTables, LoggedVersion, PublishLog, SeriesKey, Versions
from documents.names import GLOBAL_FR
from documents.overview import overview_body, overview_document
from history.rates import recorded_funding
from history.selection import AROUND_MS
from market.assets.figures import Overview
from market.assets.names import asset_of
from market.assets.overview import overview_of
from market.assets.readings import MarketHistory, common_instant
from market.columns import CANDLE, VALUES
from market.markets import Exchange, FundingSeries, Market
from market.rows import Rows, TimedValues
from market.timeframes import DAY_MS, Timeframe

_KNOWN: Final = frozenset(map(str, Exchange))
_STEP_MS: Final = Timeframe.M5.interval_ms
# Before the instant: candles of the change in 24 h begin 5 minutes earlier.
_REACH_MS: Final = DAY_MS + _STEP_MS
# How far back the last candle of a market is looked for that has none in that time.
_LONGEST_MS: Final = 7 * DAY_MS
_MOST_MARKETS: Final = 20  # whose chunks are decoded on the event loop, in some milliseconds
_LONGEST_NAME: Final = 64  # names are asked for by anybody
Instants = tuple[int, int]


class AsOfOverview(NamedTuple):
    """The JSON of the document, with the assets that were asked for; None without a closed candle.
    `assets`: the names of all."""

    document: bytes | None
    assets: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was known then: markets, since when some are stale, and intervals of funding."""

    markets: Sequence[Market]
    stale: Mapping[str, int]
    intervals: Mapping[tuple[str, str], int]


class AsOfOverviews:
    """Makes overviews of the record. All methods raise DatabaseUnavailable."""

    def __init__(self, tables: HistoryTables, publishes: PublishLog) -> None:
        self._tables = tables
        self._publishes = publishes
        self._turn = asyncio.Semaphore(1)  # each takes some tenths of a second of a core

    async def build(
        self, version: LoggedVersion, names: Collection[str] | None = None
    ) -> AsOfOverview:
        """The overview as of a version of 5m, and its times. `names`: of assets, bases or symbols,
        in upper case; None for all."""
        async with self._turn:
            funding: LoggedVersion | None = None
            if version.funding_updated_ms is not None:
                funding = await self._publishes.version_at(GLOBAL_FR, version.funding_updated_ms)
            intervals = {} if funding is None else funding.intervals
            markets = [
                Market(Exchange(exchange), symbol, base, quote)
                for exchange, symbol, base, quote in version.markets
                if exchange in _KNOWN  # others are of a later release, which shares the record
            ]
            stale = {f"{each[0]}:{each[1]}": each[2] for each in version.stale}
            known = _Known(markets, stale, intervals)
            overview = await _Building(self._tables, version, known).finish(
                markets if names is None else _chosen(markets, names)
            )
        assets = sorted({asset_of(market.base).name for market in markets})
        if overview.at is None:
            return AsOfOverview(None, assets)
        return AsOfOverview(await asyncio.to_thread(_document, overview, version, known), assets)


class _Building:
    """One overview in the making."""

    def __init__(self, tables: HistoryTables, version: LoggedVersion, known: _Known) -> None:
        self._tables = tables
        self._version = version
        self._known = known
        self._last_ms = Timeframe.M5.last_closed_open_time(version.as_of_ms)

    async def finish(self, chosen: Sequence[Market]) -> Overview:
        """The overview of these markets, at the instant of all."""
        markets = self._known.markets
        is_whole = len(chosen) == len(markets)
        # Two candles of each tell the instant.
        first_ms = self._last_ms - (_REACH_MS if is_whole else 2 * _STEP_MS)
        histories = await self._histories(markets, first_ms)
        instants = common_instant(histories)
        if instants is None:  # nothing has closed since then
            first_ms = self._last_ms - _LONGEST_MS
            instants = common_instant(await self._histories(markets, first_ms))
        if instants is None:
            return Overview(None, ())
        from_ms = instants[0] - _REACH_MS
        if not is_whole or from_ms < first_ms:
            histories = await self._histories(chosen, from_ms)
        histories = await self._with_last_candles(histories)
        funding = await self._funding(chosen, instants[0])
        return await asyncio.to_thread(
            overview_of, histories, funding, self._version.as_of_ms, instants
        )

    async def _with_last_candles(self, histories: Sequence[MarketHistory]) -> list[MarketHistory]:
        """The same; of a market without any candle those of a longer time."""
        empty = [each.market for each in histories if not len(each.candles)]
        found = await self._histories(empty, self._last_ms - _LONGEST_MS)
        longer = {each.market.key: each for each in found}
        return [longer.get(each.market.key, each) for each in histories]

    async def _histories(self, markets: Sequence[Market], first_ms: int) -> list[MarketHistory]:
        """What was known of closed candles from `first_ms` on, and of open interest."""
        version, found = self._version, []
        for batch in _batches(markets):
            candles = [SeriesKey.candles(m.exchange, m.symbol, Timeframe.M5) for m in batch]
            interest = [SeriesKey.open_interest(m.exchange, m.symbol) for m in batch]
            known_ms = version.updated_at_ms
            async with self._tables.snapshot() as snapshot:
                closed = await snapshot.versions(
                    candles, first_ms, self._last_ms + 1, as_of_ms=known_ms
                )
                snapshots = await snapshot.versions(
                    interest, first_ms, version.as_of_ms + 1, as_of_ms=known_ms
                )
            found += [
                MarketHistory(
                    market,
                    _rows(closed[candles[place]]),
                    _timed(snapshots[interest[place]]),
                    self._known.stale.get(market.key),
                )
                for place, market in enumerate(batch)
            ]
        return found

    async def _funding(self, markets: Sequence[Market], at_ms: int) -> dict[str, FundingSeries]:
        """The settlements of the document of funding that the 5m document used, by Market.key."""
        version, found = self._version, dict[str, FundingSeries]()
        known_ms = version.funding_updated_ms
        told = [m for m in markets if (m.exchange, m.symbol) in self._known.intervals]
        if known_ms is None:
            return found
        for batch in _batches(told):
            keys = [SeriesKey.funding(market.exchange, market.symbol) for market in batch]
            async with self._tables.snapshot() as snapshot:
                settled = await snapshot.versions(
                    keys, max(0, at_ms - AROUND_MS), version.as_of_ms + 1, as_of_ms=known_ms
                )
            for key, market in zip(keys, batch, strict=True):
                rows = _timed(settled[key])
                if len(rows):
                    hours = self._known.intervals[market.exchange, market.symbol]
                    found[market.key] = recorded_funding(rows, market, hours)
        return found


def _batches(markets: Sequence[Market]) -> Iterator[Sequence[Market]]:
    for start in range(0, len(markets), _MOST_MARKETS):
        yield markets[start : start + _MOST_MARKETS]


def _chosen(markets: Sequence[Market], names: Collection[str]) -> list[Market]:
    """The markets of all assets that the names may mean: their own, a base, or a symbol."""
    short = [name for name in names if len(name) <= _LONGEST_NAME]
    assets = {*short, *(asset_of(name).name for name in short)}
    symbols = set(short)
    assets |= {asset_of(m.base).name for m in markets if m.symbol.upper() in symbols}
    return [market for market in markets if asset_of(market.base).name in assets]


def _rows(closed: Versions) -> Rows:
    values = np.full((len(closed.times), len(VALUES)), np.nan)
    values[:, CANDLE] = closed.values
    return Rows(closed.times, values)


def _timed(found: Versions) -> TimedValues:
    return TimedValues(found.times, found.values)


def _document(overview: Overview, version: LoggedVersion, known: _Known) -> bytes:
    return overview_document(
        overview_body(overview, known.markets[0].quote),
        version=version.version,
        as_of_ms=version.as_of_ms,
        updated_at_ms=version.updated_at_ms,
        funding_intervals="kept" if known.intervals else "not_recorded",
    )
