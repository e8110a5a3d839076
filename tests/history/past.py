"""A past to record: drawn versions of documents, published for real, and a naive list of them."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg

from cache_manager import CacheManager
from database import Database, SeriesKey
from documents.building import DocumentBuilder, encode_funding
from documents.comparison import Comparison
from documents.deflated import Deflated
from documents.journal import EncodedEntry
from documents.journal_draft import JournalDraft, funding_entry
from documents.names import GLOBAL_FR
from documents.reading import decode_funding, decode_series
from market.markets import Exchange, FundingSeries, Market, MarketSeries, Missing
from market.rows import Rows, TimedValues
from market.timeframes import HOUR_MS, MINUTE_MS, Timeframe
from stores.hot.leases import Lease

START_MS: Final = 1_763_726_400_000
WINDOW: Final = 6  # candles
MARKETS: Final = [
    Market(exchange, f"{base}USDT", base, "USDT") for exchange in Exchange for base in ("A", "B")
]
TABLES: Final = (
    *("series", "recent", "recent_points", "chunks", "point_chunks", "revisions"),
    *("point_revisions", "stored", "universes", "publishes", "journal", "coverage"),
)
Values = dict[int, tuple[float, ...]]
Told = dict[SeriesKey, dict[int, list[tuple[int, int, Any]]]]
_NEVER_MS: Final = 2**63 - 1


@dataclass
class Version:
    """One published version: the series that it has, by key, closed rows alone, each series with
    the window in which these are all; and open interest, of `carried` markets as it was earlier."""

    document: str
    version: int
    updated_at_ms: int
    closed: dict[SeriesKey, tuple[tuple[int, int], Values]]
    interest: dict[SeriesKey, Values]
    forming: dict[str, list[Any]]
    carried: set[SeriesKey] = field(default_factory=set)


@dataclass
class Past:
    """Draws and publishes versions; `versions` are all that were, in order."""

    seed: int
    cache: CacheManager
    lease: Lease
    versions: list[Version] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - the same every time
        self.now_ms = START_MS + 3 * HOUR_MS + 1_000
        self.candles: dict[Any, tuple[float, ...]] = {}
        self.holes: set[Any] = set()
        self.interest: dict[Any, float] = {}
        self.settled: dict[Any, float] = {}
        self.unlisted: set[str] = set()
        self.carried_over = 0.15
        self.checked: dict[str, MarketSeries] = {}

    def pass_time(self) -> None:
        """Time passes, and the truth changes in its past, too."""
        chance = self.chance
        self.now_ms += chance.choice((1_000, 60_000, 5 * MINUTE_MS, 5 * MINUTE_MS, 20 * MINUTE_MS))
        if self.candles and chance.random() < 0.3:
            self.candles[chance.choice(sorted(self.candles))] = self._candle()
        if self.candles and chance.random() < 0.2:
            self.holes.symmetric_difference_update([chance.choice(sorted(self.candles))])
        if chance.random() < 0.15:
            self.unlisted.symmetric_difference_update([chance.choice(MARKETS).key])
        if self.interest and chance.random() < 0.6:
            newest_ms = max(at_ms for _, at_ms in self.interest)
            recent = [at for at in sorted(self.interest) if at[1] > newest_ms - HOUR_MS]
            self.interest[chance.choice(recent)] = chance.random() * 1e9
        if self.settled and chance.random() < 0.1:
            self.settled[chance.choice(sorted(self.settled))] = chance.random()

    def _candle(self) -> tuple[float, ...]:
        low = float(self.chance.randint(1, 50))
        return (low + 0.25, low + 1, low, low + 0.5, self.chance.random() * 1e6, 7.25)

    def _markets(self) -> list[Market]:
        return [market for market in MARKETS if market.key not in self.unlisted]

    def _series(self, market: Market, timeframe: Timeframe) -> MarketSeries:
        place = f"{timeframe} {market.key}"
        if place in self.checked and self.chance.random() < self.carried_over:
            before = self.checked[place]
            return replace(before, stale_since_ms=before.checked_at_ms)
        last_ms, interval_ms = timeframe.floor(self.now_ms), timeframe.interval_ms
        rows: list[Any] = []
        for open_ms in range(last_ms - (WINDOW - 1) * interval_ms, last_ms + 1, interval_ms):
            key = (str(timeframe), market.key, open_ms)
            is_closed = open_ms < last_ms
            candle = self.candles.setdefault(key, self._candle()) if is_closed else self._candle()
            if key in self.holes and is_closed:
                continue
            at = (market.key, open_ms)
            if at not in self.interest and self.chance.random() < 0.7:
                self.interest[at] = self.chance.random() * 1e9
            rows.append((open_ms, *candle, self.interest.get(at), self.chance.random()))
        self.checked[place] = MarketSeries(market, Rows.of(rows), self.now_ms)
        return self.checked[place]

    async def publish(self, document: str, *, with_entry: bool = True) -> Version:
        """Publishes the next version of the document."""
        version = await self.cache.next_version(document, self.now_ms)
        stored = await self.cache.read(document)
        before = None if stored is None else stored.inflate()
        base = 0 if stored is None else stored.meta.version
        make = self._funding if document == GLOBAL_FR else self._candle_document
        made, entry, found = make(document, version, before, base)
        await self.cache.save_to_cache(
            document,
            made,
            version=version,
            as_of_ms=self.now_ms,
            updated_at_ms=self.now_ms + 250,
            lease=self.lease,
            entry=entry if with_entry else None,
        )
        self.versions.append(found)
        return found

    def _candle_document(
        self, document: str, version: int, before: bytes | None, base: int
    ) -> tuple[Deflated, EncodedEntry | None, Version]:
        timeframe = Timeframe(document)
        draft = JournalDraft(timeframe, candles=WINDOW, funding_updated_ms=START_MS)
        comparison = Comparison(timeframe, decode_series(before) if before else None, draft)
        builder = DocumentBuilder(timeframe, "collected")
        found = Version(document, version, self.now_ms + 250, {}, {}, {})
        for market in self._markets():
            series = self._series(market, timeframe)
            comparison.add(series)
            builder.add(series, {})
            last_ms = timeframe.last_closed_open_time(series.checked_at_ms)
            closed: dict[int, tuple[float, ...]] = {
                row[0]: row[1:7] for row in series.rows if row[0] <= last_ms
            }
            if closed:
                key = SeriesKey.candles(market.exchange, market.symbol, timeframe)
                found.closed[key] = (min(closed), last_ms), closed
            found.forming[market.key] = [list(r) for r in series.rows if r[0] > last_ms]
            interest = {row[0]: (row[7],) for row in series.rows if row[7] is not None}
            key = SeriesKey.open_interest(market.exchange, market.symbol)
            found.interest[key] = interest  # type: ignore[assignment]
            if series.stale_since_ms is not None:
                candles = SeriesKey.candles(market.exchange, market.symbol, timeframe)
                found.carried |= {key, candles}
        missing = [Missing(Exchange.BYBIT, "XUSDT", "klines", "as drawn")]
        comparison.finish(missing)
        told: dict[str, Any] = {
            "version": version,
            "as_of_ms": self.now_ms,
            "updated_at_ms": self.now_ms + 250,
            "missing": missing,
        }
        return builder.finish_deflated(**told), comparison.journal_entry(**told), found

    def _funding(
        self, document: str, version: int, before: bytes | None, base: int
    ) -> tuple[bytes, EncodedEntry | None, Version]:
        found = Version(document, version, self.now_ms + 250, {}, {}, {})
        book = {}
        last_ms = self.now_ms - self.now_ms % HOUR_MS
        for market in self._markets():
            rows = [
                (at_ms + 3, self.settled.setdefault((market.key, at_ms), self.chance.random()))
                for at_ms in range(last_ms - 3 * HOUR_MS, last_ms + 1, HOUR_MS)
            ]
            series = FundingSeries(market, TimedValues.of(rows), 1, self.now_ms)
            book[market.key] = series
            key = SeriesKey.funding(market.exchange, market.symbol)
            found.closed[key] = (rows[0][0], self.now_ms), {at_ms: (r,) for at_ms, r in rows}
        told: dict[str, Any] = {
            "version": version,
            "as_of_ms": self.now_ms,
            "updated_at_ms": self.now_ms + 250,
            "missing": [],
        }
        entry = funding_entry(decode_funding(before) if before else {}, book, base=base, **told)
        return encode_funding(book, **told), entry, found


def naive(versions: list[Version]) -> Told:
    """Of each series and time all that was ever known: (known from, known to, values)."""
    told: Told = {}

    def known(key: SeriesKey, at_ms: int, since_ms: int, values: Any) -> None:
        history = told.setdefault(key, {}).setdefault(at_ms, [])
        if history and history[-1][1] == _NEVER_MS:
            from_ms, _, before = history[-1]
            if before == values:
                return
            since_ms = max(since_ms, from_ms + 1)  # a gap is filled in before what came earlier
            history[-1] = (from_ms, since_ms, before)
        if values is not None:
            history.append((since_ms, _NEVER_MS, values))

    for version in versions:
        since_ms = version.updated_at_ms
        for key, (window, rows) in version.closed.items():
            for at_ms in list(told.get(key, ())):
                if window[0] <= at_ms <= window[1] and at_ms not in rows:
                    known(key, at_ms, since_ms, None)
            for at_ms, values in rows.items():
                known(key, at_ms, since_ms, values)
        for key, at_ms, snapshot in _told_interest(version):
            if key not in version.carried or not told.get(key, {}).get(at_ms):
                known(key, at_ms, since_ms, snapshot)
    return told


def _told_interest(version: Version) -> list[tuple[SeriesKey, int, Any]]:
    return [
        (key, at_ms, values)
        for key, rows in version.interest.items()
        for at_ms, values in rows.items()
    ]


async def recorded(database: Database) -> Told:
    """What the record tells of every series."""
    told: Told = {}
    async with database.history.snapshot() as snapshot:
        keys = await snapshot.series()
        revisions = await snapshot.revisions(keys, 0, 2**50)
    for key, found in revisions.items():
        for at_ms, values, from_ms, to_ms in zip(
            *(found.times.tolist(), found.values.tolist(), found.known_from.tolist()),
            found.known_to.tolist(),
            strict=True,
        ):
            told.setdefault(key, {}).setdefault(at_ms, []).append((from_ms, to_ms, tuple(values)))
    return {key: dict(sorted(rows.items())) for key, rows in told.items()}


def in_order(told: Told) -> Mapping[SeriesKey, Any]:
    """Without instants of which nothing was known, in one order, for comparisons."""
    return {
        key: {at_ms: told[key][at_ms] for at_ms in sorted(told[key]) if told[key][at_ms]}
        for key in sorted(told)
    }


async def publishes(session: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, int, int]]:
    """The log of publishes: document, version, updated_at."""
    rows = await session.fetch(
        "SELECT document, version, updated_at FROM history_publishes ORDER BY updated_at, document"
    )
    return [tuple(row) for row in rows]


__all__ = ["MARKETS", "Past", "Version", "in_order", "naive", "publishes", "recorded", "replace"]
